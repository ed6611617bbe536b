"""Our checkpoints: networks, settings, optimizer and where training stands; written whole or not at all."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

FORMAT = "maskanim-checkpoint"
VERSION = 1


@dataclass
class Checkpoint:
    """What `maskanim-train` writes and `maskanim-export` reads.

    Attributes:
        settings: `TrainSettings` as plain values.
        networks: state dict of `Networks`.
        optimizer: state dict of Adam.
        step: steps done, the warm-up's included.
        provenance: the command, the data, the true name of the perceptual network, library versions.
    """

    settings: dict[str, Any]
    networks: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    step: int
    provenance: dict[str, Any]
    format: str = field(default=FORMAT)
    version: int = field(default=VERSION)

    def save(self, path: Path) -> None:
        """Write to a sibling and rename, so that `path` always holds a whole checkpoint."""
        partial = path.with_name(f".{path.name}.partial")
        torch.save(asdict(self), partial)
        os.replace(partial, path)


def load_own(values: dict[str, Any]) -> Checkpoint | None:
    """The checkpoint in an unpickled dict, or None where it is not one of ours of this version."""
    if values.get("format") != FORMAT or values.get("version") != VERSION:
        return None
    return Checkpoint(**values)
