"""Sample grids in the manner of the paper's Figure 4, through the test-time pipeline."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from maskanim import pipeline
from maskanim.networks import Networks, TorchOps
from maskanim.ops import Frame, postprocess, preprocess
from maskanim.spec import IMAGE_SIZE
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
def draw_grid(nets: Networks, source: Tensor, driving: Tensor) -> Frame:
    """One row per pair: s, m_s, d, m_d, m_dp, m_dr, c, f.

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
    columns = (source, encoded.mask, driving, shown.mask, shown.perturbed, shown.refined, shown.coarse, shown.frame)
    rows = [np.hstack([_cell(column[i]) for column in columns]) for i in range(len(source))]
    return np.vstack(rows)


def _cell(image: Tensor) -> Frame:
    picture = postprocess(image.float().cpu().numpy())
    return cv2.resize(picture, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_NEAREST)
