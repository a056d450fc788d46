"""How a voice speaks, in eval and in production."""

from pydantic import Field

from orpheus_clone.recipe.section import Section


class Sampling(Section):
    """How the next token is drawn."""

    temperature: float = Field(0.6, ge=0, le=2)
    """0 is greedy, which loops on the stock model."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Nucleus of the distribution that is drawn from."""
    repetition_penalty: float = Field(1.1, ge=1, le=2)
    """Of what was said in the last two seconds. Below 1.1 the stock model loops."""
    max_seconds: float = Field(20.0, gt=0, le=60)
    """An utterance that has not stopped by then is cut; by how long its text may take, if less."""
    context: bool = True
    """An utterance goes on from the text and the sound of the one before, so that they join."""
