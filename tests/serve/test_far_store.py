"""A node whose store is in S3, and what it does when S3 is gone."""

import os
from pathlib import Path
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer

from orpheus_clone.layout import RunDir
from orpheus_clone.serve.pointers import FRESH_SECONDS
from tests.bundles import SHORT, SHORT_FRAMES, frames_of, made
from tests.nodes import running
from tests.waiting import eventually


def test_a_node_speaks_what_is_in_s3_and_goes_on_when_s3_is_gone(
    run_dir: RunDir, own_cache: Path, tmp_path: Path
) -> None:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with urlopen(Request(f"http://{host}:{port}/voices", method="PUT")):
        pass
    cloud = {"AWS_ENDPOINT": f"http://{host}:{port}", "AWS_REGION": "us-east-1"}
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    cache = {"ORPHEUS_CLONE_CACHE": os.environ["ORPHEUS_CLONE_CACHE"]}
    source = made(run_dir, tmp_path / "made", "far", sampling=SHORT)
    with running(
        tmp_path,
        "--allow-unproven",
        store="s3://voices/fleet",
        environment=cloud | keys | cache,
    ) as node:
        published = node.client.publish(source, by="jane")
        assert published["bundle"] == source.name
        assert frames_of(node.speak("Hello.", "far").content[44:]) == SHORT_FRAMES
        assert node.client.history("far")[0]["by"] == "jane"
        server.stop()
        spoken: list[int] = []

        def log() -> str:
            return node.log.read_text(encoding="utf-8")

        def is_missed() -> bool:
            spoken.append(frames_of(node.speak("Hello.", "far").content[44:]))
            return "what voice far meant last holds" in log()

        eventually(is_missed, 10 + FRESH_SECONDS, "the node has missed its store")
        assert set(spoken) == {SHORT_FRAMES}
        assert "Traceback" not in log()
