"""The golden pairs of an exported model: see `maskanim.golden`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskanim import pipeline
from maskanim.golden import Animated, Golden, golden, pack
from maskanim.networks import TorchOps
from maskanim.ops import Array, postprocess, preprocess
from maskanim.spec import Perturbation

COUNT = 2
GOLDEN_FILE = "golden.png"


def golden_pairs(
    nets: pipeline.Nets[Tensor], perturbation: Perturbation, pairs: Sequence[tuple[Array, Array]]
) -> bytes:
    """Some of the pairs on which an export is verified, rounded to 8 bits, and what PyTorch makes of those.

    Args:
        nets: in eval mode, on the CPU, with the weights as they are stored.
        perturbation: of the model.
        pairs: source and driving frames, (1, 3, 256, 256) float32 in [0, 1]; two of them are taken.

    Returns:
        The file's content.
    """
    taken = pairs[:: max(1, len(pairs) // COUNT)][:COUNT]
    return pack(_golden(nets, TorchOps(perturbation), source, driving) for source, driving in taken)


@torch.no_grad()
def _golden(nets: pipeline.Nets[Tensor], ops: TorchOps, source: Array, driving: Array) -> Golden:
    frames = postprocess(source), postprocess(driving)
    images = [torch.from_numpy(preprocess(frame)) for frame in frames]
    encoded = pipeline.encode_source(nets, ops, images[0])
    steps = vars(pipeline.animate_frame(nets, ops, encoded, images[1]))
    animation = pipeline.Animation(**{name: tensor.numpy() for name, tensor in steps.items()})
    return golden(*frames, Animated(encoded.mask.numpy(), animation))
