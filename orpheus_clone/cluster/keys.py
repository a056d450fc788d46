"""Every key in Redis, what it holds and how long.

    {orpheus-clone}:node:<id>      JSON of NodeState         TTL_SECONDS, renewed by each heartbeat
    {orpheus-clone}:ring:nodes     set of node ids           KEEP_SECONDS, renewed by each heartbeat
    {orpheus-clone}:ring:version   number                    KEEP_SECONDS, renewed by each heartbeat
    {orpheus-clone}:ring:changes   channel: a version, each time it goes up

The braces put all of them on one node of a Redis cluster, where a script may touch them together.
Nothing that must last is kept here: a flushed Redis is whole again after one heartbeat.
"""

from orpheus_clone.cluster.registry import TTL_SECONDS

NODE = "{orpheus-clone}:node:"
"""And the node's id."""
NODES = "{orpheus-clone}:ring:nodes"
VERSION = "{orpheus-clone}:ring:version"
CHANGES = "{orpheus-clone}:ring:changes"

TTL_MS = round(TTL_SECONDS * 1000)
KEEP_SECONDS = 3600
"""Of what the last node leaves behind."""
