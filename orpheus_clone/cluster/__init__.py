"""cluster: which nodes live, and which of them holds a voice."""
