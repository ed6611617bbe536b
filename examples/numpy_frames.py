"""Animate frames that a program has as NumPy arrays; no file is read or written.

pip install 'maskanim[cpu]'
python numpy_frames.py
"""

from collections.abc import Iterator

import cv2
import numpy as np

import maskanim

SIZE, FRAMES = 256, 6


def head(x: int) -> np.ndarray:
    """A drawn head, (256, 256, 3) uint8 RGB; put frames of your own here, of any size from 64x64."""
    image = np.full((SIZE, SIZE, 3), 90, np.uint8)
    cv2.ellipse(image, (x, 120), (55, 75), 0, 0, 360, (224, 172, 140), -1)
    for side in (-22, 22):
        cv2.circle(image, (x + side, 105), 7, (40, 30, 30), -1)
    return image


def driving() -> Iterator[np.ndarray]:
    """The head on its way to the right."""
    yield from (head(108 + 8 * i) for i in range(FRAMES))


with maskanim.Animator.open() as animator:
    source = animator.encode_source(head(128))
    for number, frame in enumerate(animator.stream(source, driving())):
        print(number, frame.shape, frame.dtype, round(float(frame.mean()), 1))
