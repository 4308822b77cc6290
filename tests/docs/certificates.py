"""The certificates that the documents' examples name, made so that the examples can be loaded."""

from __future__ import annotations

from pathlib import Path

import trustme


def make_certificates(folder: Path) -> None:
    """Authorities, and a certificate with its key, under the names that the examples use."""
    authority = trustme.CA()
    for name in ("company-ca.pem", "backup-ca.pem"):
        authority.cert_pem.write_to_path(folder / name)
    own = authority.issue_cert("gateway.example")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "gateway.pem")
    own.private_key_pem.write_to_path(folder / "gateway.key")
