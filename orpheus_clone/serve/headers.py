"""The headers that clients and nodes tell each other things in, beside those of HTTP."""

from collections.abc import Mapping

from orpheus_clone.serve import tracing

SESSION = "x-orpheus-clone-session"
"""Names a client's session: its requests go to one side of a canary."""
NODE = "x-orpheus-clone-node"
"""Of an answer: which node spoke."""
BUNDLE = "x-orpheus-clone-bundle"
"""Of an answer: which bundle spoke."""
HOP = "x-orpheus-clone-hop"
"""The node that sent a request on; it is not sent on once more."""
_FORWARDED = ("authorization", "xi-api-key", SESSION)


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """What another node is told too of a client that sent `headers`: who it is, and its trace."""
    return {name: headers[name] for name in _FORWARDED if name in headers} | tracing.headers()
