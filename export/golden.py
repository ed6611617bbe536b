"""The golden pairs of an exported model: see `maskanim.golden`."""

from __future__ import annotations

from collections.abc import Sequence

from maskanim import pipeline
from maskanim.export.parity import Reference
from maskanim.golden import Animated, Golden, golden, pack
from maskanim.ops import postprocess

COUNT = 2
GOLDEN_FILE = "golden.png"


def golden_pairs(references: Sequence[Reference]) -> bytes:
    """Some of the pairs on which an export is verified, and what PyTorch makes of them.

    Args:
        references: of the networks with the weights as they are stored, on frames of 8 bits; two of them are taken.

    Returns:
        The file's content.
    """
    return pack(map(_golden, references[:: max(1, len(references) // COUNT)][:COUNT]))


def _golden(reference: Reference) -> Golden:
    steps = {name: tensor.numpy() for name, tensor in vars(reference.animation).items()}
    animated = Animated(reference.calls[0].output, pipeline.Animation(**steps))
    return golden(postprocess(reference.pair.source), postprocess(reference.pair.driving), animated)
