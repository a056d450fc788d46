"""The consistent hash ring: for each voice, the nodes in order of preference.

    0 ───●──○────●─○──○───●────○──●──── 2^64     ● node a   ○ node b
             ▲ voice "jack" walks right: b, then a

Each node stands on the ring in many places, so that shares are even and the keys of a node that
leaves go to all others alike. Positions are BLAKE2b of names: equal in every process and version.
"""

import bisect
import hashlib
from collections.abc import Iterable

VIRTUAL_NODES = 1024
"""Key space of the fullest of 8 nodes: 1.06 of the mean at the 95th percentile."""


def position(key: str) -> int:
    """Where a key stands on the ring, 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())


class Ring:
    """An immutable ring of node ids."""

    def __init__(self, nodes: Iterable[str], virtual_nodes: int = VIRTUAL_NODES) -> None:
        self.nodes = frozenset(nodes)
        points = sorted((position(f"{n}#{i}"), n) for n in self.nodes for i in range(virtual_nodes))
        self._positions = [at for at, _ in points]
        self._owners = [node for _, node in points]

    def preference(self, key: str) -> list[str]:
        """Every node once, the owner first."""
        start = bisect.bisect(self._positions, position(key))
        order: dict[str, None] = {}
        for owner in (*self._owners[start:], *self._owners[:start]):
            order[owner] = None
            if len(order) == len(self.nodes):
                break
        return list(order)
