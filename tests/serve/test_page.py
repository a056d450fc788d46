"""The page's files as a node serves them; what a browser makes of them is tested in web/."""

import tomllib
from pathlib import Path

import httpx
import pytest

from orpheus_clone.serve import page
from tests.nodes import RunningNode

FILES = sorted(file.name for file in page.FOLDER.iterdir())
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_page_comes_without_a_key_and_lets_nothing_in_from_elsewhere(node: RunningNode) -> None:
    answer = node.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_served_with_its_type_and_only_again_when_it_has_changed(
    node: RunningNode, name: str
) -> None:
    types = {".html": "text/html", ".css": "text/css", ".js": "javascript", ".svg": "image/svg+xml"}
    answer = node.get(f"/page/{name}")
    assert answer.content == (page.FOLDER / name).read_bytes()
    assert types[Path(name).suffix] in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "no-cache"
    again = node.get(f"/page/{name}", **{"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", FILES)
def test_nothing_in_the_files_names_another_place(name: str) -> None:
    text = (page.FOLDER / name).read_text(encoding="utf-8")
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
    for unsafe in ("innerHTML", "eval(", "style=", "onclick="):
        assert unsafe not in text


@pytest.mark.parametrize(
    "path", ["/page/nothing.js", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/"]
)
def test_what_is_no_file_of_the_page_is_404(node: RunningNode, path: str) -> None:
    answer = httpx.get(node.url + path)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_the_page_is_only_read(node: RunningNode) -> None:
    assert node.post("/").status_code == 405
    assert node.post("/page/page.js").status_code == 405


def test_the_files_are_in_the_wheel() -> None:
    setup = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert "serve/web/*" in setup["package-data"]["orpheus_clone"]
