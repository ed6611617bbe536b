"""Sample grids in the manner of the paper's Figure 4, through the test-time pipeline."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maskanim import pipeline
from maskanim.grid import draw_grid
from maskanim.networks import Networks, TorchOps
from maskanim.ops import Array, Frame, preprocess
from maskanim.train.puppets import Puppet


def puppet_examples(identities: int, seconds: float = 2.2) -> tuple[Tensor, Tensor]:
    """Held-out sources, and drivers of which the first half are themselves later on, the second half somebody else."""
    puppets = [Puppet(i, "test") for i in range(identities)]
    sources = [puppet.frame(0).image for puppet in puppets]
    half = identities // 2
    drivers = [p.frame(seconds).image for p in puppets[:half] + [puppets[i - 1] for i in range(half, identities)]]
    source, driving = (torch.from_numpy(np.concatenate([preprocess(f) for f in fs])) for fs in (sources, drivers))
    return source, driving


@torch.no_grad()
def draw_grids(nets: Networks, source: Tensor, driving: Tensor) -> Frame:
    """One row of `maskanim.grid` per pair.

    Args:
        source, driving: (N, 3, 256, 256) float32 in [0, 1].

    Returns:
        (N * 256, 8 * 256, 3) uint8 RGB.
    """
    was_training = nets.training
    nets.eval()
    ops = TorchOps(nets.spec.perturbation)
    encoded = pipeline.encode_source(nets, ops, source)
    shown = pipeline.animate_frame(nets, ops, encoded, driving)
    nets.train(was_training)
    return np.vstack([_row(encoded, driving, shown, i) for i in range(len(source))])


def _row(encoded: pipeline.Source[Tensor], driving: Tensor, shown: pipeline.Animation[Tensor], i: int) -> Frame:
    def item(batch: Tensor) -> Array:
        return batch[i : i + 1].float().cpu().numpy()

    source = pipeline.Source(*map(item, vars(encoded).values()))
    return draw_grid(source, item(driving), pipeline.Animation(*map(item, vars(shown).values())))
