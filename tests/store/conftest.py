"""A store in a directory, and one in S3 behind a server that speaks its protocol."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from orpheus_clone.bundle import Bundle
from orpheus_clone.layout import RunDir
from orpheus_clone.recipe import Sampling
from orpheus_clone.store import Store, open_store
from tests.bundles import made


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server with the bucket `voices`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with urlopen(Request(f"http://{host}:{port}/voices", method="PUT")):
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty store in S3, credentials included in the environment."""
    monkeypatch.setenv("AWS_ENDPOINT", s3_server)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return f"s3://voices/{uuid4().hex}"


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be."""
    if request.param == "directory":
        return str(tmp_path / "store")
    return str(request.getfixturevalue("s3"))


@pytest.fixture
def store(place: str) -> Store:
    return open_store(place)


@pytest.fixture
def bundles(run_dir: RunDir, tmp_path: Path) -> list[Bundle]:
    """Three bundles of one voice."""
    return [
        made(run_dir, tmp_path / "made", sampling=Sampling(temperature=t)) for t in (0.5, 0.6, 0.7)
    ]


@pytest.fixture
def released(store: Store) -> Callable[[Bundle], str]:
    """Adds a bundle and lets its voice mean it."""

    def release(source: Bundle, share: float | None = None) -> str:
        seen = store.see(source.card.voice)
        stored = store.add(source)
        to = seen.pointer.released(stored.name, share)
        store.move(seen, "publish" if share is None else "canary", to)
        return stored.name

    return release
