"""TLS contexts of clients: certificates and host names are always verified."""

from __future__ import annotations

import ssl
from collections.abc import Sequence


def client_context(ca_files: Sequence[str] = (), certificate: str = "", key: str = "") -> ssl.SSLContext:
    """A context for HTTP/1.1 that trusts the system's authorities, and those of ``ca_files`` beside them.

    ``certificate``, ``key``: files of what this machine shows of itself; empty for none, an empty key for one that
        stands in the certificate's file.

    OpenSSL itself heeds SSL_CERT_FILE and SSL_CERT_DIR. Raises OSError for a file that cannot be read, ssl.SSLError for
    one that holds no certificate, and for a key that is not the certificate's or has a passphrase.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    for ca_file in ca_files:
        context.load_verify_locations(ca_file)
    if certificate:
        context.load_cert_chain(certificate, key or None, password=_no_passphrase)
    return context


def _no_passphrase() -> str:
    """Refuses: OpenSSL would ask for the passphrase on the terminal."""
    raise ssl.SSLError("the key has a passphrase; give a key without one, in a file of mode 0600")
