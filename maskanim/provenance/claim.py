"""What a manifest says of a video: that a model made its frames, which model, and by which software."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from maskanim import __version__
from maskanim.bundle import MANIFEST, Bundle

SOFTWARE = "maskanim"
MODEL_ASSERTION = "maskanim.model"
ACTIONS_ASSERTION = "c2pa.actions"
# IPTC's vocabulary, which C2PA refers to.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = SOURCE_TYPES + "trainedAlgorithmicMedia"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"


@dataclass(frozen=True)
class Claim:
    """What is signed; it names no person, no path and no time.

    Attributes:
        model: the bundle's name.
        model_sha256: of the bundle's ``manifest.json``, which holds the hash of every network.
        composite: whether the file also carries what no model made: the driving clip's audio, or its frames in a grid.
    """

    model: str
    model_sha256: str
    composite: bool = False

    @classmethod
    def of(cls, bundle: Bundle, *, composite: bool = False) -> Claim:
        """The claim for what a bundle generates."""
        digest = hashlib.sha256((bundle.path / MANIFEST).read_bytes()).hexdigest()
        return cls(bundle.manifest.name, digest, composite)

    @property
    def source_type(self) -> str:
        """The digital source type, an address in IPTC's vocabulary."""
        return COMPOSITE if self.composite else GENERATED

    def definition(self) -> dict[str, Any]:
        """The manifest's definition, as c2pa takes it."""
        software = {"name": SOFTWARE, "version": __version__}
        created = {"action": "c2pa.created", "digitalSourceType": self.source_type, "softwareAgent": software}
        model = {"name": self.model, "sha256": self.model_sha256}
        return {
            "claim_generator_info": [software],
            "assertions": [
                {"label": ACTIONS_ASSERTION, "created": True, "data": {"actions": [created]}},
                {"label": MODEL_ASSERTION, "created": True, "data": model},
            ],
        }
