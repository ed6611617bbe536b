"""The drawn puppets: deterministic, disjoint splits, and ground truth that agrees with the picture."""

from __future__ import annotations

import time

import numpy as np
import pytest

from maskanim.train.puppets import FPS, KEYPOINTS, LEVELS, PARTS, Puppet

FRAMES = [Puppet(i).frame(0.7 * i) for i in range(20)]


def test_a_frame_is_a_function_of_number_split_seed_and_time() -> None:
    a, b = Puppet(5, "train", 2).frame(1.5), Puppet(5, "train", 2).frame(1.5)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("other", [(6, "train", 2), (5, "test", 2), (5, "train", 3)])
def test_another_number_split_or_seed_is_somebody_else(other: tuple[int, str, int]) -> None:
    assert Puppet(*other).identity != Puppet(5, "train", 2).identity


def test_thousands_of_identities_and_none_in_both_splits() -> None:
    train, test = ({Puppet(i, split).identity for i in range(1000)} for split in ("train", "test"))
    assert len(train) == len(test) == 1000
    assert not train & test


def test_shapes_and_ranges() -> None:
    for frame in FRAMES:
        assert frame.image.shape == (256, 256, 3) and frame.image.dtype == np.uint8
        assert frame.parts.shape == (256, 256) and frame.parts.max() < len(PARTS)
        assert frame.figure_map.shape == (64, 64) and 0 <= frame.figure_map.min() <= frame.figure_map.max() <= 1
        assert frame.keypoints.shape == (len(KEYPOINTS), 2) and frame.visible.shape == (len(KEYPOINTS),)


def test_outside_the_figure_there_is_only_background() -> None:
    for i in range(5):
        puppet = Puppet(i)
        frame = puppet.frame(0.4)
        # Two pixels of tolerance: the picture is anti-aliased, the ground truth is not.
        far = ~np.lib.stride_tricks.sliding_window_view(np.pad(frame.figure, 2), (5, 5)).any((2, 3))
        np.testing.assert_array_equal(frame.image[far], puppet.background[far])


def test_the_figure_stands_out_from_the_background() -> None:
    for i, frame in enumerate(FRAMES):
        difference = np.abs(frame.image.astype(int) - Puppet(i).background).mean(-1)
        assert difference[frame.figure].mean() > 20


def test_the_figure_is_large_and_whole() -> None:
    for frame in FRAMES:
        assert 0.1 < frame.figure.mean() < 0.35
        rows = np.flatnonzero(frame.figure.any(1))
        assert rows[0] > 0 and rows[-1] < 255


def test_visible_keypoints_lie_on_the_figure() -> None:
    for frame in FRAMES:
        x, y = np.round(frame.keypoints[frame.visible]).astype(int).T
        assert frame.figure[y, x].all()
    assert np.mean([frame.visible.mean() for frame in FRAMES]) > 0.8


def test_a_leg_before_the_other_hides_its_knee() -> None:
    """The right leg is drawn over the left one: where they cross, the left knee or ankle is hidden, never the right."""
    visible = np.stack([Puppet(i).frame(t).visible for i in range(30) for t in range(10)])
    left, right = ([KEYPOINTS.index(f"{side}_{joint}") for joint in ("knee", "ankle")] for side in ("left", "right"))
    assert not visible[:, left].all() and visible[:, right].all()


def test_the_figure_map_follows_the_figure() -> None:
    for frame in FRAMES:
        small = frame.figure.reshape(64, 4, 64, 4).mean((1, 3))
        around = np.lib.stride_tricks.sliding_window_view(np.pad(small, 1), (3, 3)).max((2, 3))
        assert (frame.figure_map[around == 0] == 0).all()
        kept = frame.figure_map > 100 / 255
        assert 0.3 < kept.sum() / (small > 0.5).sum() < 0.8  # the cores stay, the rims go
    assert all(core > 100 / 255 > rim for part, (core, rim) in LEVELS.items() if part != "hair")


def test_motion_is_smooth_and_real() -> None:
    for i in range(5):
        points = np.stack([frame.keypoints for frame in Puppet(i).clip(50)])
        assert np.linalg.norm(np.diff(points, axis=0), axis=-1).max() < 400 / FPS
        assert np.ptp(points, axis=0).max() > 25


def test_drawing_does_not_starve_training() -> None:
    """A training step of eight pairs takes about a second on two cores; sixteen frames must take a small part of it."""
    puppet = Puppet(0)
    began = time.process_time()
    for i in range(100):
        puppet.frame(i / 10)
    assert (time.process_time() - began) / 100 < 0.01
