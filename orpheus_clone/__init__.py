"""orpheus-clone: half an hour of speech to a voice that answers in a tenth of a second."""

__version__ = "0.1.0"
