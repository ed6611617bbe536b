"""Each metric on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.benchmarks.judges import Feature
from maskanim.benchmarks.metrics import (
    BY_NAME,
    METRICS,
    PerFrame,
    aed,
    akd,
    cls,
    csim,
    fes,
    follows,
    iou,
    l1,
    mkr,
    ssim,
)

RNG = np.random.default_rng(0)
FRAMES = list(RNG.integers(0, 200, (3, 256, 256, 3)).astype(np.uint8))


def value(part: PerFrame) -> float:
    return float(part.totals.sum() / part.counts.sum())


def points(places: object, found: object) -> Feature:
    return Feature(np.array(places, np.float64), np.array(found, bool))


def embedded(*values: object, mean: tuple[float, float] = (0, 0)) -> Feature:
    return Feature(np.array(values, np.float32) - np.array(mean, np.float32), np.ones(len(values), bool))


def square(at: int, side: int = 10) -> Feature:
    masks = np.zeros((1, 256, 256), bool)
    masks[0, at : at + side, at : at + side] = True
    return Feature(masks, masks.any((1, 2)))


def test_the_paper_s_nine_and_three_correlations() -> None:
    nine = ["L1", "AKD", "MKR", "AED", "SSIM", "CSIM", "CLS", "IOU", "FES"]
    assert list(BY_NAME) == [*nine, "yaw r", "mouth r", "lids r"]
    assert {metric.name for metric in METRICS if metric.better == "lower"} == {"L1", "AKD", "MKR", "AED"}


def test_identical_frames() -> None:
    assert value(l1(FRAMES, FRAMES)) == 0
    assert value(ssim(FRAMES, FRAMES)) == pytest.approx(1, abs=1e-12)


def test_noise_of_known_l1() -> None:
    """Plus or minus 13 everywhere, nothing clipped: exactly 13/255."""
    noisy = [(frame + 26 + 13 * RNG.choice([-1, 1], frame.shape)).astype(np.uint8) for frame in FRAMES]
    assert value(l1(noisy, [frame + np.uint8(26) for frame in FRAMES])) == pytest.approx(13 / 255, rel=1e-12)


def test_l1_of_black_and_white() -> None:
    assert value(l1([np.zeros((256, 256, 3), np.uint8)], [np.full((256, 256, 3), 255, np.uint8)])) == 1


def test_ssim_of_flat_pictures() -> None:
    """Without structure only the luminance term is left: (2ab + C1) / (a^2 + b^2 + C1), C1 = (0.01 * 255)^2."""
    a, b, c = 100.0, 150.0, (0.01 * 255) ** 2
    flat = [[np.full((256, 256, 3), shade, np.uint8)] for shade in (a, b)]
    assert value(ssim(*flat)) == pytest.approx((2 * a * b + c) / (a * a + b * b + c), rel=1e-9)


def test_akd_of_points_that_are_shifted() -> None:
    driving = points(RNG.uniform(0, 200, (4, 17, 2)), np.ones((4, 17)))
    moved = Feature(driving.values + (3, 4), driving.found)
    assert value(akd(driving, driving)) == 0
    assert value(akd(moved, driving)) == pytest.approx(5, rel=1e-12)


def test_akd_takes_points_found_in_both_and_mkr_counts_the_others() -> None:
    driving = points([[[0, 0], [10, 0], [20, 0], [30, 0]]], [[1, 1, 1, 0]])
    generated = points([[[0, 2], [10, 6], [99, 99], [30, 0]]], [[1, 1, 0, 1]])
    assert value(akd(generated, driving)) == 4
    assert value(mkr(generated, driving)) == pytest.approx(1 / 3)


def test_a_missing_person() -> None:
    """No key-point, no mask, no class; and AKD has nothing to judge."""
    driving, nobody = points([[[5, 5]] * 17], [[1] * 17]), points([[[0, 0]] * 17], [[0] * 17])
    assert value(mkr(nobody, driving)) == 1
    assert akd(nobody, driving).counts.sum() == 0
    none = Feature(np.zeros((1, 256, 256), bool), np.zeros(1, bool))
    assert value(cls(none, None)) == 0
    assert value(iou(none, square(0))) == 0
    assert iou(square(0), none).counts.sum() == 0


def test_iou_of_squares_that_overlap() -> None:
    """10x10 shifted by 5 in both directions: 25 of 175 pixels."""
    assert value(iou(square(20), square(25))) == pytest.approx(25 / 175)
    assert value(iou(square(20), square(20))) == 1
    assert value(cls(square(20), None)) == 1


def test_aed_is_a_distance() -> None:
    assert value(aed(embedded((0, 3), (0, 0)), embedded((4, 0), (0, 0)))) == 2.5


def test_swapped_identities() -> None:
    """Two people on either side of a large common mean: raw cosines are alike, those about the mean are not."""
    a, b, mean = (10.0, 1.0), (10.0, -1.0), (10.0, 0.0)
    sources = embedded(a, b, mean=mean)
    assert value(csim(embedded(a, b, mean=mean), sources)) == pytest.approx(1)
    assert value(csim(embedded(b, a, mean=mean), sources)) == pytest.approx(-1)
    assert value(csim(embedded(b, a), embedded(a, b))) > 0.98


def test_csim_to_one_source() -> None:
    assert value(csim(embedded((0, 1), (0, 2), (1, 0)), embedded((0, 5)))) == pytest.approx(2 / 3)


def test_frames_without_a_face_are_not_judged() -> None:
    faces = Feature(np.ones((2, 2), np.float32), np.array([True, False]))
    part = csim(faces, embedded((1, 1)))
    assert part.counts.tolist() == [1, 0] and part.totals[1] == 0
    assert aed(faces, embedded((1, 1), (1, 1))).counts.tolist() == [1, 0]


def test_expressions_that_agree() -> None:
    """A lost face has another expression; a driver without a face is not judged."""
    generated = Feature(np.array([1, 2, 3, 4]), np.array([True, True, False, True]))
    driving = Feature(np.array([1, 3, 3, 4]), np.array([True, True, True, False]))
    part = fes(generated, driving)
    assert part.totals.tolist() == [1, 0, 0, 0] and part.counts.tolist() == [1, 1, 1, 0]


def heads(yaw: list[float], found: list[bool] | None = None) -> Feature:
    values = np.zeros((len(yaw), 6))
    values[:, 0] = yaw
    return Feature(values, np.array(found or [True] * len(yaw)))


def test_correlation_of_heads() -> None:
    """By frames with a face in both; of what does not move there is none."""
    x, y = [1.0, 2, 4, 8, 1000], [3.0, 1, 5, 4, 0]
    part = follows("yaw")(heads(x, [True] * 4 + [False]), heads(y))
    assert value(part) == pytest.approx(np.corrcoef(x[:4], y[:4])[0, 1]) and part.counts.tolist() == [1, 1, 1, 1, 0]
    for still in (follows("mouth")(heads(x), heads(y)), follows("yaw")(heads(x[:2]), heads(y[:2]))):
        assert not still.counts.any() and len(still.counts) == len(still.totals)
