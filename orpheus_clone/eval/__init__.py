"""eval: prove a voice on the hardware that will serve it."""
