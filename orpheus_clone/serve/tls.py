"""TLS: what a node shows to whoever connects, and whom it trusts when it connects to another.

Certificates are read when a node starts; a new one is taken up by starting it again.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from orpheus_clone.errors import RecipeError


@dataclass(frozen=True)
class Tls:
    """PEM files."""

    cert: Path | None = None
    """The node's own certificate, and those that lead to the authority; None for plain HTTP."""
    key: Path | None = None
    """None where it is in the file of the certificate."""
    ca: Path | None = None
    """The authority of the other nodes' certificates; None for the system's."""

    def listening(self) -> ssl.SSLContext | None:
        """For those who connect, or None for plain HTTP; RecipeError names the file."""
        if self.cert is None:
            if self.key is not None:
                raise RecipeError(f"--tls-key {self.key}: wants its certificate, --tls-cert FILE")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # A password would be asked for on the terminal.
            context.load_cert_chain(self.cert, self.key, password="")
        except (OSError, ValueError) as error:
            files = f"--tls-cert {self.cert}" + (f" --tls-key {self.key}" if self.key else "")
            raise RecipeError(
                f"{files}: {error}; expected a certificate and its key without a password, in PEM"
            ) from None
        return context

    def connecting(self) -> ssl.SSLContext:
        """For connections to other nodes; RecipeError names the file."""
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise RecipeError(f"--tls-ca {self.ca}: {error}; expected PEM") from None
