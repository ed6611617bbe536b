"""All steps of one driving frame side by side, in the order of the paper's Figure 4."""

from __future__ import annotations

import cv2
import numpy as np

from maskanim.ops import Array, Frame, postprocess
from maskanim.pipeline import Animation, Source
from maskanim.spec import IMAGE_SIZE


def draw_grid(source: Source[Array], driving: Array, steps: Animation[Array]) -> Frame:
    """One row of eight cells: s, m_s, d, m_d, m_dp, m_dr, c, f.

    Args:
        source: the encoded source.
        driving: (1, 3, 256, 256) float32 in [0, 1], the prepared driving frame.
        steps: what became of it.

    Returns:
        (256, 2048, 3) uint8 RGB; masks are grey, each of their pixels a 4x4 block.
    """
    shown = (steps.mask, steps.perturbed, steps.refined, steps.coarse, steps.frame)
    cells = (source.image, source.mask, driving, *shown)
    return np.hstack([_cell(image) for image in cells])


def _cell(image: Array) -> Frame:
    enlarged = cv2.resize(postprocess(image), (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(enlarged, np.uint8)
