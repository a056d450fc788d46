"""Every error this project raises on purpose, and the exit code that the command line gives it.

    OrpheusCloneError
    ├── GateFailed          1   the voice was measured and is not good enough
    ├── RecipeError         2   an option or a recipe is wrong
    ├── DataError           3   recordings, transcripts or text cannot be used
    │   ├── AudioError          a recording cannot be read or holds nothing
    │   │   └── NoSpeechError   nobody speaks in it
    │   ├── TranscriptError     transcripts and recordings do not match
    │   ├── TextError           a text that cannot be spoken
    │   ├── TokenError          ids that are not a whole Orpheus sequence
    │   └── UnknownVoice        nobody has that name
    ├── ArtifactError       4   a base model, run or bundle is missing, incomplete or altered
    ├── TrainingError       5   training cannot go on (a loss that is not a number)
    ├── EngineError         6   the engine, a node or a store cannot do what was asked
    │   ├── EngineDead          its process is gone, or hangs
    │   ├── NodeError           a node answered with an error, or not at all
    │   ├── StoreError          a store answered with an error, or not at all
    │   └── Busy                everything that could do it is taken
    ├── MachineError        7   the machine lacks something: disk, port, memory, a package
    └── Interrupted         130 or 143  Ctrl-C or SIGTERM, after what was done is saved

Exit code 70 is a bug of ours: the traceback is printed whole. 130 is Ctrl-C.
"""


class OrpheusCloneError(Exception):
    """Base of all deliberate errors; the message says what, where and what to do next."""

    exit_code = 70


class GateFailed(OrpheusCloneError):
    """A gate of the recipe failed, so the voice is not released."""

    exit_code = 1


class RecipeError(OrpheusCloneError):
    """A recipe, a `--set` or an option has a value that cannot be used."""

    exit_code = 2


class DataError(OrpheusCloneError):
    """Recordings, transcripts or text that cannot be used."""

    exit_code = 3


class AudioError(DataError):
    """A recording that cannot be read, or that holds no usable samples."""


class NoSpeechError(AudioError):
    """A waveform in which nobody speaks."""


class TranscriptError(DataError):
    """Transcripts that cannot be read or do not match the recordings."""


class TextError(DataError):
    """A text that cannot be spoken."""


class TokenError(DataError):
    """Token ids or codes that are not a whole, legal Orpheus sequence."""


class UnknownVoice(DataError):
    """A name that no stock voice and no published voice has."""


class ArtifactError(OrpheusCloneError):
    """A base model, prepared data, run or bundle that is missing, incomplete or altered."""

    exit_code = 4


class TrainingError(OrpheusCloneError):
    """Training that cannot go on."""

    exit_code = 5


class EngineError(OrpheusCloneError):
    """An engine that cannot do what was asked."""

    exit_code = 6


class EngineDead(EngineError):
    """The engine's process is gone, or hangs; only a restart of the node helps."""


class NodeError(EngineError):
    """A node that answered with an error, or did not answer."""


class StoreError(EngineError):
    """A store that answered with an error, or did not answer."""


class Busy(EngineError):
    """Everything that could do it is taken; later it may not be."""

    def __init__(self, message: str, retry_after_s: int = 2) -> None:
        """`retry_after_s` is when it is worth while to ask the same node again."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MachineError(OrpheusCloneError):
    """The machine lacks something: disk space, a free port, memory or a package."""

    exit_code = 7


class Interrupted(OrpheusCloneError):
    """A signal ended the work after it was saved; the exit code is a shell's, 128 + its number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal
