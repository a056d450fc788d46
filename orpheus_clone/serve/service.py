"""What the routes of a node work with."""

import ssl
from dataclasses import dataclass, field
from functools import cached_property

from orpheus_clone.cluster.membership import Membership
from orpheus_clone.serve.admission import Admission
from orpheus_clone.serve.auth import Keys, NodeSecret
from orpheus_clone.serve.limits import Limits
from orpheus_clone.serve.links import Links
from orpheus_clone.serve.metrics import Metrics
from orpheus_clone.serve.node import Node


@dataclass(frozen=True)
class Service:
    """A node, its place in the cluster, its keys and secret, its figures and its limits."""

    node: Node
    membership: Membership
    keys: Keys
    secret: NodeSecret = field(default_factory=lambda: NodeSecret(None))
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    """For connections to other nodes."""
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def links(self) -> Links:
        """The sockets to other nodes; closed with the application."""
        return Links(self.secret, self.trust)

    @property
    def admission(self) -> Admission:
        """Who may speak here now."""
        return self.node.admission

    @property
    def metrics(self) -> Metrics:
        """What the node counts."""
        return self.node.metrics
