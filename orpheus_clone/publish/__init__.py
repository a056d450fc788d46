"""publish: a proved voice to a node or a store, and back."""
