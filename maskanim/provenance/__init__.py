"""Synthesised video says that it is: by a signed C2PA manifest in the file, and by a label that can be seen.

The manifest proves that the file was not changed since it was signed, but anyone can strip it, and every re-encoding
does. The label stays.
"""

from maskanim.provenance.label import LABEL, check_label, draw_label
from maskanim.provenance.manifest import (
    Claim,
    Provenance,
    check_signing,
    claim_by_default,
    read_provenance,
    sign_video,
    signed,
)

__all__ = [
    "LABEL",
    "Claim",
    "Provenance",
    "check_label",
    "check_signing",
    "claim_by_default",
    "draw_label",
    "read_provenance",
    "sign_video",
    "signed",
]
