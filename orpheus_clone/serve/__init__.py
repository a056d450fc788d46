"""serve: a node that speaks."""
