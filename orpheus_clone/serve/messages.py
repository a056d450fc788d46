"""What ElevenLabs' clients send over a socket, one JSON object a message.

    {"text": " ", "voice_settings": {…}, "context_id"}     opens a context, which any text does too
    {"text": "Hi ", "context_id", "flush"?}                text as it comes
    {"context_id", "flush": true}                          speak all of it now
    {"text": "", "context_id"}                             keep-alive; of a single stream, the end
    {"context_id", "close_context": true}
    {"close_socket": true}

Fields that are not known are ignored: clients send settings of models that are not here.
"""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orpheus_clone.errors import DataError
from orpheus_clone.serve.tempo import FASTEST, SLOWEST

DEFAULT_CONTEXT = "default"
"""Of messages that name none."""


class VoiceSettings(BaseModel):
    """Of stability, similarity, style and speaker boost Orpheus has none."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    speed: float | None = Field(None, ge=SLOWEST, le=FASTEST)


class ClientMessage(BaseModel):
    """See the module docstring."""

    model_config = ConfigDict(extra="ignore", strict=True)

    text: str | None = None
    context_id: str | None = Field(None, max_length=256)
    flush: bool | None = None
    close_context: bool | None = None
    close_socket: bool | None = None
    voice_settings: VoiceSettings | None = None

    @property
    def has_text(self) -> bool:
        """Whether it brings something to be spoken, which " " is not."""
        return bool(self.text and self.text.strip())

    @property
    def context(self) -> str:
        """Which context it is for."""
        return self.context_id or DEFAULT_CONTEXT

    @property
    def speed(self) -> float:
        """How fast the context is to speak."""
        return (self.voice_settings and self.voice_settings.speed) or 1.0


def read(message: str) -> ClientMessage:
    """A client's message; DataError says what is wrong with it."""
    try:
        return ClientMessage.model_validate_json(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the message"
        raise DataError(f"{where}: {first['msg']}") from None


def names(context: str) -> dict[str, str]:
    """How a message says which context it is of: Pipecat reads the one, LiveKit the other."""
    return {"contextId": context, "context_id": context}
