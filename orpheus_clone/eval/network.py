"""What the way to a node adds to the first sound: the round trip on a connection that is open."""

import time
from statistics import median

import httpx

from orpheus_clone.errors import NodeError, RecipeError

TRIPS = 20


def round_trip_ms(url: str) -> float:
    """The median of `TRIPS` to a node's /livez; NodeError where it does not answer."""
    if not url.startswith(("http://", "https://")):
        raise RecipeError(f"--node {url}: is not a node's URL; write http://NODE or https://NODE")
    try:
        with httpx.Client(base_url=url, timeout=10) as client:
            client.get("/livez").raise_for_status()  # opens the connection
            return 1000 * median(_trip_s(client) for _ in range(TRIPS))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NodeError(
            f"--node {url} does not answer ({error or type(error).__name__}); is the node up? "
            "orpheus-clone serve starts one"
        ) from error


def _trip_s(client: httpx.Client) -> float:
    began = time.perf_counter()
    client.get("/livez").raise_for_status()
    return time.perf_counter() - began
