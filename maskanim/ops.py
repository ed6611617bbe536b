"""The untrained operations in NumPy: D, U, P_test, pre- and post-processing. Every other implementation means this."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.spec import IMAGE_SIZE, MASK_SIZE, Perturbation

Array = NDArray[np.float32]
Frame = NDArray[np.uint8]

MIN_FRAME_SIDE = MASK_SIZE  # below this, even D(s) would be an enlargement


def downscale(image: Array) -> Array:
    """D: bilinear 256 to 64, half-pixel centres, no anti-aliasing.

    At a factor of four each output pixel is the mean of the middle 2x2 of its 4x4 input pixels.

    Args:
        image: (N, C, 4H, 4W) float32.

    Returns:
        (N, C, H, W) float32, equal to torch's ``interpolate(scale_factor=0.25, mode="bilinear")`` to the bit.
    """
    top, bottom = image[..., 1::4, :], image[..., 2::4, :]
    # torch adds the four in this order; scaling by a power of two does not round.
    return (top[..., 1::4] + top[..., 2::4] + bottom[..., 1::4] + bottom[..., 2::4]) * np.float32(0.25)


def upscale(mask: Array) -> Array:
    """U: bilinear 64 to 256, half-pixel centres, edges repeated.

    Args:
        mask: (N, C, H, W) float32.

    Returns:
        (N, C, 4H, 4W) float32, within two float32 roundings of torch's ``interpolate(scale_factor=4)``.
    """
    return _upscale_rows(_upscale_rows(mask.swapaxes(-1, -2)).swapaxes(-1, -2))


def _upscale_rows(x: Array) -> Array:
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 1), (0, 0)], mode="edge")
    above, centre, below = padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :]
    out = np.empty((*x.shape[:-2], 4 * x.shape[-2], x.shape[-1]), np.float32)
    # Output row 4i+k lies at input row i + (k + 0.5) / 4 - 0.5.
    out[..., 0::4, :] = np.float32(0.375) * above + np.float32(0.625) * centre
    out[..., 1::4, :] = np.float32(0.125) * above + np.float32(0.875) * centre
    out[..., 2::4, :] = np.float32(0.875) * centre + np.float32(0.125) * below
    out[..., 3::4, :] = np.float32(0.625) * centre + np.float32(0.375) * below
    return out


def lower_median(mask: Array) -> Array:
    """The lower median of each mask: order statistic (n-1)//2, always one of the pixels, as in ``torch.median``.

    Args:
        mask: (N, 1, H, W) float32.

    Returns:
        (N, 1, 1, 1) float32.
    """
    flat = mask.reshape(len(mask), mask.shape[-2] * mask.shape[-1])
    k = (flat.shape[1] - 1) // 2
    return np.partition(flat, k, axis=1)[:, k].reshape(-1, 1, 1, 1)


def kept(mask: Array, perturbation: Perturbation) -> NDArray[np.bool_]:
    """Which pixels P_test does not set to zero; see `perturb`."""
    if perturbation.threshold is None:  # kind "median"
        return np.asarray(mask >= lower_median(mask))
    return np.asarray(mask > np.float32(perturbation.threshold))


def perturb(mask: Array, perturbation: Perturbation) -> Array:
    """P_test, equation (3): set the driver's low-intensity pixels, which carry his identity, to zero.

    With ``median`` a pixel equal to the median is kept (the paper: *smaller than* is zeroed); with ``fixed`` a pixel
    equal to the threshold is zeroed (the released code: ``<=``).

    Args:
        mask: (N, 1, H, W) float32 in [0, 1].

    Returns:
        (N, 1, H, W) float32; kept pixels are unchanged to the bit, unless `perturbation.released_animate` shrinks them.
    """
    left = np.where(kept(mask, perturbation), mask, np.float32(0))
    return shrink(left) if perturbation.released_animate else left


def shrink(mask: Array) -> Array:
    """What the released code does to a perturbed mask when it animates: floored to 8 bits, shrunk to three quarters.

    About the centre, bilinear, zero outside, rounded to 8 bits. Output pixel x lies at x' = (8x - S + 1) / 6 of S input
    pixels, so that all weights are sixths and the sums are exact in integers.

    Args:
        mask: (N, 1, S, S) float32 in [0, 1].

    Returns:
        (N, 1, S, S) float32.
    """
    size = mask.shape[-1]
    taps = np.zeros((size, size), np.int64)  # sixths of each input pixel in each output pixel
    for x in range(size):
        first, sixths = divmod(8 * x - size + 1, 6)
        for pixel, weight in ((first, 6 - sixths), (first + 1, sixths)):
            if 0 <= pixel < size:
                taps[x, pixel] = weight
    sums = taps @ (mask * np.float32(255)).astype(np.int64) @ taps.T
    return np.asarray((sums + 18) // 36, np.float32) / np.float32(255)


class NumpyOps:
    """D, U and P_test of one model, as `pipeline.Ops` over NumPy arrays."""

    downscale, upscale = staticmethod(downscale), staticmethod(upscale)

    def __init__(self, perturbation: Perturbation) -> None:
        self.perturbation = perturbation

    def perturb(self, mask: Array) -> Array:
        return perturb(mask, self.perturbation)


def preprocess(frame: Frame) -> Array:
    """A picture of any size to the networks' input: the largest centred square, resized to 256x256.

    Shrinking averages each pixel's area; enlarging is bilinear, with half-pixel centres and repeated edges. Nothing is
    rounded to eight bits in between.

    Args:
        frame: (H, W, 3) uint8 RGB; both sides at least 64.

    Returns:
        (1, 3, 256, 256) float32 in [0, 1].

    Raises:
        MaskanimError: the array is not such a picture, or it is too small.
    """
    square: NDArray[np.uint8 | np.float32] = centre_square(frame)
    side = len(square)
    if side != IMAGE_SIZE:
        how = cv2.INTER_AREA if side > IMAGE_SIZE else cv2.INTER_LINEAR
        resized = cv2.resize(square.astype(np.float32), (IMAGE_SIZE, IMAGE_SIZE), interpolation=how)
        square = np.minimum(resized, 255)  # the mean of white pixels can round to more
    image = np.empty((1, 3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    for plane, channel in zip(image[0], cv2.split(square), strict=True):
        np.divide(channel, 255, out=plane, dtype=np.float32)
    return image


def centre_square(frame: Frame) -> Frame:
    """The largest centred square of a picture.

    Args:
        frame: (H, W, 3) uint8; both sides at least 64.

    Returns:
        (min(H, W), min(H, W), 3) uint8, a view.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise MaskanimError("frame", f"{frame.dtype} of shape {frame.shape}", "uint8 RGB of shape (height, width, 3)")
    height, width = frame.shape[:2]
    side = min(height, width)
    if side < MIN_FRAME_SIDE:
        smallest = f"at least {MIN_FRAME_SIDE}x{MIN_FRAME_SIDE}"
        raise MaskanimError("frame", f"{width}x{height} pixels", smallest, "Use a larger picture")
    top, left = (height - side) // 2, (width - side) // 2
    return frame[top : top + side, left : left + side]


def postprocess(image: Array) -> Frame:
    """A generated image to a picture.

    Args:
        image: (1, C, H, W) or (C, H, W) float32 in [0, 1], C one or three.

    Returns:
        (H, W, 3) uint8 RGB, rounded half to even; one channel becomes grey.
    """
    values = np.clip(image.reshape(image.shape[-3:]), 0, 1)
    values *= np.float32(255)
    pixels = np.rint(values, out=values).astype(np.uint8)
    return np.asarray(cv2.merge(list(np.broadcast_to(pixels, (3, *pixels.shape[1:])))), np.uint8)
