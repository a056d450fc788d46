"""Which web pages a node without keys answers: those of its own machine.

It listens on loopback and takes whoever reaches it for its user; and a browser there lets every
page that is open send requests to it. What the browser says of the page tells them apart:

    Host    by which name it found us: one of its own that it made to lead here (DNS rebinding)
    Origin  whose page it is: another site's, which may not read an answer, and can ask all the same
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from orpheus_clone.serve.auth import is_loopback


def stranger(headers: Mapping[str, str], url: str) -> str | None:
    """Why a request is not to be answered by the node at `url`; None where nothing speaks against.

    A program sends no Origin.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    found = f"Host {host!r}" if not _is_ours(f"//{host}", url) else ""
    if origin is not None and not _is_ours(origin, url):
        found = f"Origin {origin!r}"
    if not found:
        return None
    return (
        f"a node without keys answers this machine alone, and {found} is another; name it with "
        "--node-url http://HOST:PORT, or start the node with --keys FILE"
    )


def _is_ours(address: str, url: str) -> bool:
    """Whether the host in a URL is this machine, or the one in the node's own."""
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return False
    return is_loopback(host) or host == urlsplit(url).hostname
