"""The c2pa package as it is used here: imported late, and never on the network."""

from __future__ import annotations

from typing import Any

from maskanim.errors import needs_extra

EXTRA = "provenance"
SETTINGS: dict[str, Any] = {
    # Memory stays flat however long the video: its data is hashed in pieces, and what is copied goes to the disk.
    "core": {
        "allowed_network_hosts": [],
        "backing_store_memory_threshold_in_mb": 16,
        "merkle_tree_chunk_size_in_kb": 1024,
        "merkle_tree_max_proofs": 0,
    },
    # A manifest elsewhere is never fetched, and no issuer is asked whether he has revoked a certificate.
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


def load_c2pa(subject: str) -> Any:
    """The package c2pa.

    Raises:
        MissingPackageError: it is not installed; `subject` needs it.
    """
    with needs_extra(subject, EXTRA):
        import c2pa
        import cryptography  # noqa: F401
    return c2pa
