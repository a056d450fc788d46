"""The commands that operate a fleet: keys for its clients, and a look at its nodes."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from orpheus_clone import errors
from orpheus_clone.cli.app import app
from orpheus_clone.cli.options import JsonOption, KeyOption
from orpheus_clone.terminal import Terminal

_EVERY_SECONDS = 1.0
_COLUMNS = ("id", "phase", "language", "sessions", "slots", "voices", "version", "silent")


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; shown in logs.", metavar="NAME")],
    keys: Annotated[
        Path,
        typer.Option(
            envvar="ORPHEUS_CLONE_KEYS",
            help="The keys file, as of serve --keys; it gets the key's hash.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="speak, publish (release voices) or operate (see the fleet); may be repeated. "
            "speak if left out."
        ),
    ] = None,
    sessions_per_minute: Annotated[
        int | None, typer.Option(min=1, help="That it may begin at each node.")
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="That it may have open at each node.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key for a client; it is shown once, and kept only as a hash."""
    from orpheus_clone.serve.keys import add, checked_scope, made

    scopes = [checked_scope(wanted) for wanted in scope or ["speak"]]
    secret, entry = made(name, scopes, sessions_per_minute=sessions_per_minute, sessions=sessions)
    add(keys, entry)
    screen = Terminal(as_json=as_json)
    screen.result({"name": name, "scopes": list(entry.scopes), "key": secret}, f"key {name}")
    screen.say("the key is shown only now; nodes take it once they have been started again")


@app.command()
def nodes(
    server: Annotated[str, typer.Option("--server", help="URL of a node, any of a fleet.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """The fleet as it lives: who is there, who speaks, who has which voice. Ctrl-C ends it.

    Where there is no terminal, and with --json, it is shown once.
    """
    from orpheus_clone.client import NodeClient

    node, screen = NodeClient(server, key), Terminal(as_json=as_json)
    fleet = node.nodes()
    if as_json:
        screen.result(fleet)
    elif not screen.is_live:
        screen.rows("nodes", _rows(fleet), _COLUMNS)
    else:
        with suppress(KeyboardInterrupt), screen.live(_COLUMNS) as show:
            while True:
                try:
                    fleet, trouble = node.nodes(), ""
                except errors.NodeError as error:
                    trouble = str(error)
                show(_rows(fleet), trouble)
                time.sleep(_EVERY_SECONDS)


def _rows(fleet: Mapping[str, Any]) -> list[dict[str, str]]:
    return [_row(node) for node in fleet["nodes"]]


def _row(node: Mapping[str, Any]) -> dict[str, str]:
    load, resident = node["load"], node["load"]["resident"]
    speaking = {bundle.partition("@")[0]: count for bundle, count in resident.items()}
    return {
        "id": node["id"],
        "phase": node["phase"],
        "language": node["pool"]["language"],
        "sessions": f"{load['sessions']} of {node['cap']}",
        "slots": f"{len(resident)} of {load['slots']}",
        "voices": ", ".join(f"{voice} {count}" for voice, count in speaking.items()),
        "version": node["version"],
        "silent": f"{node['silent_s']:.0f} s",
    }
