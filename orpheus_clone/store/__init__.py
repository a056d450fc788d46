"""The adapter store: bundles, and the pointers that say which one a voice's name means.

    store/
      bundles/jack@4f1c2a9be07d/    immutable, verified when it is read
      voices/jack.jsonl             every move of the pointer, a line each; the last is what holds

    a directory ─┐
    s3 gs az ────┼─ Objects: read, add, swap ── Store: bundles and moves ── publish, serve
    hf ──────────┘

Pointers live here and nowhere else, and one store may be shared by many nodes. A bundle is added
before a pointer names it, and a pointer is one object that is swapped for the one that was read: a
reader sees the old or the new, never half of one, and of two who move it at once one is told so.
"""

from orpheus_clone.store.place import is_node, open_store
from orpheus_clone.store.pointer import Canary, Move, Pointer
from orpheus_clone.store.store import Seen, Store

__all__ = ["Canary", "Move", "Pointer", "Seen", "Store", "is_node", "open_store"]
