"""prepare: recordings and transcripts to a corpus that trains."""
