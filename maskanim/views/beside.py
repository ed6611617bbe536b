"""Source, driver and result in one picture."""

from __future__ import annotations

import cv2
import numpy as np

from maskanim.ops import Frame


def side_by_side(source: Frame, driving: Frame, result: Frame) -> Frame:
    """The three in a row, as high as the result.

    Args:
        source, driving, result: (H, W, 3) uint8 RGB, each of any size.

    Returns:
        (H of the result, all widths, 3) uint8 RGB; each keeps its proportions.
    """
    return np.hstack([at_height(picture, len(result)) for picture in (source, driving, result)])


def at_height(picture: Frame, height: int) -> Frame:
    """A picture resized to a height, in proportion; itself if it has that height."""
    if len(picture) == height:
        return picture
    width = max(1, round(picture.shape[1] * height / len(picture)))
    how = cv2.INTER_AREA if height < len(picture) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)
