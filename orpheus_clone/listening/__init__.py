"""How a voice sounds, in numbers: each utterance heard by the judges, and what they add up to.

Shared by train, which chooses an epoch by it, and eval, which proves a voice with it.
"""
