"""Golden pairs: frames that a bundle carries with what PyTorch makes of them, by which every backend is judged.

They are one picture, which a person can look at too: for each pair s, d, c and f in a row, and below it m_s, m_d, m_dp
and m_dr, all in 8 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim import pipeline
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame, postprocess
from maskanim.spec import IMAGE_SIZE, MASK_SIZE, NETWORK_NAMES, NetworkName

ROW = IMAGE_SIZE + MASK_SIZE  # pixels of the picture's height for one pair
HIGHEST_PSNR = 150.0  # told where arrays are equal to the bit


class Golden(NamedTuple):
    """One pair and what becomes of it."""

    # source, driving, coarse, frame: s, d, c and f, (256, 256, 3) uint8 RGB
    source: Frame
    driving: Frame
    coarse: Frame
    frame: Frame
    # source_mask, mask, perturbed, refined: m_s, m_d, m_dp and m_dr, (64, 64) uint8
    source_mask: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    perturbed: NDArray[np.uint8]
    refined: NDArray[np.uint8]


class Animated(NamedTuple):
    """A pair through a pipeline: m_s, and the driving frame's way, NCHW in [0, 1] with a batch of 1."""

    source_mask: Array
    animation: pipeline.Animation[Array]


def golden(source: Frame, driving: Frame, found: Animated) -> Golden:
    """A pair in 8 bits, with its results rounded to 8 bits."""
    steps = found.animation
    masks = (found.source_mask, steps.mask, steps.perturbed, steps.refined)
    rounded = (np.rint(255 * mask[0, 0]).astype(np.uint8) for mask in masks)
    return Golden(source, driving, postprocess(steps.coarse), postprocess(steps.frame), *rounded)


def pack(pairs: Iterable[Golden]) -> bytes:
    """The picture, as a PNG file."""
    rows = []
    for pair in pairs:
        masks = np.zeros((MASK_SIZE, 4 * IMAGE_SIZE, 3), np.uint8)
        masks[:, : 4 * MASK_SIZE] = np.hstack(pair[4:])[..., None]
        rows += [np.hstack(pair[:4]), masks]
    done, content = cv2.imencode(".png", np.vstack(rows)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return content.tobytes()


def read_golden(bundle: Bundle) -> list[Golden]:
    """A bundle's pairs; none where it was exported before there were any.

    Raises:
        MaskanimError: the file is something else.
    """
    file = bundle.manifest.golden
    return unpack((bundle.path / file.file).read_bytes()) if file else []


def unpack(content: bytes) -> list[Golden]:
    """The pairs of a picture.

    Raises:
        MaskanimError: it is something else.
    """
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape[1] != 4 * IMAGE_SIZE or not len(picture) or len(picture) % ROW:
        found = "no picture" if picture is None else "a picture of {1}x{0} pixels".format(*picture.shape)
        raise MaskanimError("golden pairs", found, f"one of {4 * IMAGE_SIZE} pixels by {ROW} a pair", "Export it again")
    rows = np.split(picture[..., ::-1], len(picture) // ROW)
    parts = ((row[:IMAGE_SIZE], row[IMAGE_SIZE:, : 4 * MASK_SIZE, 0]) for row in rows)
    return [Golden(*(np.ascontiguousarray(cell) for part in pair for cell in np.split(part, 4, 1))) for pair in parts]


def agreement(pairs: Sequence[Golden], animate: Callable[[Frame, Frame], Animated]) -> dict[NetworkName, float]:
    """Hold a pipeline against the golden pairs.

    Args:
        pairs: at least one.
        animate: gives the results for a source and a driving frame.

    Returns:
        Per network the lowest agreement of its outputs, in dB with peak 1, at most some 59 as 8 bits go; NaN where an
        output holds one. The networks run one behind the other, so that a fault shows from its network on.
    """
    found = [_psnr(pair, animate(pair.source, pair.driving)) for pair in pairs]
    return {name: float(np.min([one[name] for one in found])) for name in NETWORK_NAMES}  # NaN stays


def _psnr(pair: Golden, found: Animated) -> dict[NetworkName, float]:
    steps = found.animation

    def against(image: Array, expected: NDArray[np.uint8]) -> float:
        given = image[0].transpose(1, 2, 0).reshape(expected.shape)
        return psnr(given, expected.astype(np.float32) / np.float32(255))

    return {
        "m": float(np.min([against(found.source_mask, pair.source_mask), against(steps.mask, pair.mask)])),
        "r": against(steps.refined, pair.refined),
        "l": against(steps.coarse, pair.coarse),
        "h": against(steps.frame, pair.frame),
    }


def psnr(a: Array, b: Array) -> float:
    """Peak signal-to-noise ratio in dB, peak 1; at most 150, NaN if either holds one."""
    error = float(np.mean(np.square(a.astype(np.float64) - b)))
    return -10 * math.log10(max(error, 10 ** (-HIGHEST_PSNR / 10))) if error == error else math.nan
