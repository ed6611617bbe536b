"""What cameras and codecs do to pictures: blur, noise and JPEG, drawn once for all frames of a pair."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from maskanim.ops import Frame

BLUR = 1.6  # largest sigma, pixels of 256
NOISE = 6.0  # largest deviation, grey levels
JPEG_QUALITY = (35, 92)


def worsen_alike(frames: Sequence[Frame], share: float, rng: np.random.Generator) -> list[Frame]:
    """Frames as a worse camera would have taken them, all alike but for the noise.

    Args:
        frames: (H, W, 3) uint8 RGB each.
        share: how often; otherwise they stay as they are.
    """
    drawn, blur, noise, quality = rng.random(4)
    if drawn >= share:
        return list(frames)
    sigma = BLUR * blur - 0.4 * BLUR  # two in five stay sharp
    settings = [cv2.IMWRITE_JPEG_QUALITY, round(float(np.interp(quality, (0, 1), JPEG_QUALITY)))]
    result = []
    for frame in frames:
        if sigma > 0.2:
            frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), np.uint8)
        if noise > 0.6:
            grain = rng.normal(0, NOISE * (noise - 0.6) / 0.4, frame.shape[:2])[..., None]
            frame = np.clip(np.rint(frame + grain), 0, 255).astype(np.uint8)
        _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), settings)
        result.append(np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8))
    return result
