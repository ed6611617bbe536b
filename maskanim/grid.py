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
        driving: (1, 3, 256, 256) float32 in [0, 1], the prepared driving frame.

    Returns:
        (256, 2048, 3) uint8 RGB.
    """
    shown = (steps.mask, steps.perturbed, steps.refined, steps.coarse, steps.frame)
    return draw_cells(source.image, source.mask, driving, *shown)


def draw_cells(*images: Array) -> Frame:
    """Images and masks in a row, each 256x256.

    Args:
        images: each (1, C, H, W) float32 in [0, 1], of 64x64 or 256x256.

    Returns:
        (256, 256 * number of images, 3) uint8 RGB; masks are grey, each of their pixels a 4x4 block.
    """
    size = (IMAGE_SIZE, IMAGE_SIZE)
    cells = [cv2.resize(postprocess(image), size, interpolation=cv2.INTER_NEAREST) for image in images]
    return np.asarray(np.hstack(cells), np.uint8)
