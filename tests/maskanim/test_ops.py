"""D, U, P_test and pre- and post-processing in NumPy, against torch and against plain definitions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from maskanim import ops
from maskanim.errors import MaskanimError
from maskanim.networks import ops as torch_ops
from maskanim.spec import Perturbation

RNG = np.random.default_rng(0)
MEDIAN, FIXED = Perturbation(), Perturbation(kind="fixed", threshold=100 / 255)


def test_downscale_equals_torch_to_the_bit() -> None:
    image = RNG.random((2, 3, 256, 256), np.float32)
    np.testing.assert_array_equal(ops.downscale(image), torch_ops.downscale(torch.from_numpy(image)).numpy())


def test_upscale_equals_torch_to_two_roundings() -> None:
    mask = RNG.random((2, 1, 64, 64), np.float32)
    expected = torch_ops.upscale(torch.from_numpy(mask)).numpy()
    assert np.abs(ops.upscale(mask) - expected).max() <= 2 * np.finfo(np.float32).eps


def test_upscale_repeats_edges_and_interpolates_between() -> None:
    up = ops.upscale(np.array([[[[0.0, 1.0]]]], np.float32))[0, 0]
    assert up.shape == (4, 8)
    np.testing.assert_array_equal(up[0], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])


def masks() -> dict[str, np.ndarray]:
    random = RNG.random((3, 1, 64, 64), np.float32)
    tied = (random * 4).astype(np.uint8).astype(np.float32) / 4
    return {
        "random": random,
        "tied": tied,
        "constant": np.full((2, 1, 64, 64), 0.3, np.float32),
        "zero": np.zeros((1, 1, 64, 64), np.float32),
        "odd size": RNG.random((2, 1, 7, 9), np.float32),
        "one pixel": np.ones((1, 1, 1, 1), np.float32),
        "no masks": np.zeros((0, 1, 64, 64), np.float32),
    }


@pytest.mark.parametrize("perturbation", [MEDIAN, FIXED], ids=["median", "fixed"])
@pytest.mark.parametrize("kind", masks())
def test_perturb_equals_torch_to_the_bit(kind: str, perturbation: Perturbation) -> None:
    mask = masks()[kind]
    expected = torch_ops.perturb(torch.from_numpy(mask), perturbation).numpy()
    np.testing.assert_array_equal(ops.perturb(mask, perturbation), expected)


def test_median_is_the_lower_one_and_ties_are_kept() -> None:
    mask = np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(1, 1, 2, 2)
    assert ops.lower_median(mask).item() == np.float32(0.2)
    np.testing.assert_array_equal(ops.perturb(mask, MEDIAN).ravel(), np.array([0, 0.2, 0.3, 0.4], np.float32))


def test_fixed_threshold_drops_what_equals_it() -> None:
    mask = np.array([0.25, 0.5, 0.75, 0.5], np.float32).reshape(1, 1, 2, 2)
    dropped = ops.perturb(mask, Perturbation(kind="fixed", threshold=0.5)).ravel()
    np.testing.assert_array_equal(dropped, np.array([0, 0, 0.75, 0], np.float32))


def test_each_mask_has_its_own_median() -> None:
    mask = RNG.random((4, 1, 64, 64), np.float32) * np.array([0.1, 1, 0.5, 0.9], np.float32).reshape(4, 1, 1, 1)
    together = ops.perturb(mask, MEDIAN)
    apart = np.concatenate([ops.perturb(one[None], MEDIAN) for one in mask])
    np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize(("height", "width"), [(256, 256), (480, 640), (100, 70), (64, 64), (1280, 721)])
def test_preprocess_takes_the_centred_square(height: int, width: int) -> None:
    frame = RNG.integers(0, 256, (height, width, 3), np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = ops.preprocess(frame)
    assert image.shape == (1, 3, 256, 256) and image.dtype == np.float32
    np.testing.assert_array_equal(image, ops.preprocess(frame[top : top + side, left : left + side].copy()))


def test_preprocess_of_a_256_frame_is_exact_and_comes_back() -> None:
    frame = RNG.integers(0, 256, (256, 256, 3), np.uint8)
    image = ops.preprocess(frame)
    np.testing.assert_array_equal(image[0].transpose(1, 2, 0), frame.astype(np.float32) / 255)
    np.testing.assert_array_equal(ops.postprocess(image), frame)


def area(side: int) -> np.ndarray:
    """Weights (256, side): how much of each input pixel an output pixel covers."""
    edges = np.arange(257) * side / 256
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * 256 / side


def bilinear(side: int) -> np.ndarray:
    """Weights (256, side): how near each input pixel's centre is to an output pixel's, edges repeated."""
    centres = np.clip((np.arange(256) + 0.5) * side / 256 - 0.5, 0, side - 1)
    return np.clip(1 - np.abs(centres[:, None] - np.arange(side)), 0, None)


@pytest.mark.parametrize("side", [64, 65, 255, 257, 333, 480, 512, 1080])
def test_preprocess_is_the_area_mean_or_bilinear_to_float32(side: int) -> None:
    frame = RNG.integers(0, 256, (side, side, 3), np.uint8)
    weights = area(side) if side > 256 else bilinear(side)
    expected = np.einsum("yi,ijc,xj->cyx", weights, frame / 255, weights, optimize=True)
    # A few roundings of float32 near 1; rounding to eight bits in between would be off by up to 2e-3.
    np.testing.assert_allclose(ops.preprocess(frame)[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [64, 267, 1080])
def test_preprocess_of_white_stays_in_range(side: int) -> None:
    image = ops.preprocess(np.full((side, side, 3), 255, np.uint8))
    assert 1 - 1e-6 < image.min() <= image.max() <= 1


def test_shrinking_averages() -> None:
    frame = np.zeros((512, 512, 3), np.uint8)
    frame[::2] = 200
    np.testing.assert_allclose(ops.preprocess(frame), 100 / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (np.zeros((63, 200, 3), np.uint8), "200x63 pixels; expected at least 64x64"),
        (np.zeros((100, 100), np.uint8), "uint8 of shape (100, 100)"),
        (np.zeros((100, 100, 3), np.float32), "float32 of shape"),
    ],
)
def test_preprocess_refuses(frame: np.ndarray, told: str) -> None:
    with pytest.raises(MaskanimError) as error:
        ops.preprocess(frame)
    assert told in str(error.value)


def test_postprocess_clips_and_greys() -> None:
    mask = np.array([-1, 0.5, 2, 1], np.float32).reshape(1, 1, 2, 2)
    picture = ops.postprocess(mask)
    assert picture.shape == (2, 2, 3)
    np.testing.assert_array_equal(picture[..., 0], [[0, 128], [255, 255]])
    np.testing.assert_array_equal(picture[..., 0], picture[..., 2])


def test_released_animate_floors_and_shrinks_about_the_centre() -> None:
    mask = np.random.default_rng(0).random((2, 1, 64, 64), np.float32)
    perturbation = Perturbation(kind="fixed", threshold=0.4, released_animate=True)
    found = ops.perturb(mask, perturbation)
    np.testing.assert_array_equal(found, torch_ops.perturb(torch.from_numpy(mask), perturbation).numpy())
    left = np.floor(ops.perturb(mask, Perturbation(kind="fixed", threshold=0.4)) * 255)
    # As OpenCV's affine warp does it, in half pixels and with fractions of a pixel in 32nds.
    matrix = np.array([[0.75, 0, 31.5 * 0.25], [0, 0.75, 31.5 * 0.25]])
    warped = np.stack([cv2.warpAffine(one[0], matrix, (64, 64), flags=cv2.INTER_LINEAR) for one in left])[:, None]
    np.testing.assert_allclose(found * 255, warped, rtol=0, atol=0.5 + 255 / 32)
    assert np.abs(found * 255 - warped).mean() < 1
    np.testing.assert_array_equal(found * 255, np.rint(found * 255))
    grey = ops.shrink(np.full((1, 1, 64, 64), 200.9 / 255, np.float32))
    np.testing.assert_array_equal(grey[..., 9:55, 9:55], np.float32(200) / np.float32(255))
    assert not found[..., :8, :].any() and not found[..., -8:].any() and found[..., 8:56, 8:56].any()


def test_released_animate_is_written_only_where_it_is() -> None:
    assert Perturbation().model_dump() == {"kind": "median", "threshold": None}
    told = Perturbation(released_animate=True).model_dump_json()
    assert Perturbation.model_validate_json(told) == Perturbation(released_animate=True) != Perturbation()
