"""One node for the whole session, and a voice that is published on it."""

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from orpheus_clone import bundle
from orpheus_clone.bundle import Bundle
from orpheus_clone.layout import RunDir
from tests.bundles import made
from tests.nodes import RunningNode, running


@pytest.fixture(scope="session")
def node(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node of nano that takes unproven voices; it has published none but what tests publish."""
    with running(tmp_path_factory.mktemp("node"), "--allow-unproven") as started:
        yield started


@pytest.fixture(scope="session")
def jack(node: RunningNode, run_dir: RunDir, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clone that speaks for half a second, always the same."""
    published = node.client.publish(made(run_dir, tmp_path_factory.mktemp("jack"), "jack"))
    return str(published["voice"])


@pytest.fixture
def voice_bundle(run_dir: RunDir, tmp_path: Path) -> Callable[[str], Bundle]:
    """Makes a bundle of a voice."""
    return lambda voice: made(run_dir, tmp_path / "made", voice)


def packed(source: Bundle, extra: Mapping[str, bytes] | None = None, **replaced: bytes) -> bytes:
    """A tar of a bundle with more files in it, or others: voice=b"…" replaces voice.json."""
    names = {"voice": bundle.VOICE_FILE, "weights": bundle.WEIGHTS_FILE}
    files = {name: (source.path / name).read_bytes() for name in bundle.FILES}
    files |= {names[short]: content for short, content in replaced.items()}
    files |= dict(extra or {})
    return tar_of([(tarfile.TarInfo(name), content) for name, content in files.items()])


def tar_of(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()
