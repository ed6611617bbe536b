"""The quality figures on animators whose figures are known: a perfect one, one that stands still, one in between."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from maskanim.benchmarks.judges.puppets import Finder
from maskanim.benchmarks.quality import Figures, animation_grid, reconstruct
from maskanim.ops import Frame
from maskanim.train.puppets import Puppet


class Known:
    """Stands in for an Animator: what it makes is a function of the source and the driving picture."""

    def __init__(self, make: Callable[[Frame, Frame], Frame]) -> None:
        self.make = make

    def encode_source(self, image: Frame) -> Frame:
        return image

    def animate(self, source: Frame, frame: Frame) -> Frame:
        return self.make(source, frame)


def measure(make: Callable[[Frame, Frame], Frame]) -> Figures:
    return reconstruct({"": Known(make)}, range(2), 4)[""]


def test_a_perfect_animator_and_one_that_stands_still() -> None:
    perfect, still = measure(lambda source, driving: driving), measure(lambda source, driving: source)
    assert (perfect["inside"], perfect["outside"], perfect["inside_ratio"]) == (0, 0, 0)
    assert still["inside_ratio"] == 1 and still["outside"] == still["repeated_outside"]
    assert perfect.counts == {"identities": 2, "frames": 4}


def test_key_points_of_a_perfect_animator_and_of_one_that_stands_still() -> None:
    perfect, still = measure(lambda source, driving: driving), measure(lambda source, driving: source)
    assert perfect["keypoints"] < 1.5 * Finder.load().about["held_out_error"]  # six frames vary more than many
    assert still["keypoints"] > 2 * perfect["keypoints"]


def test_an_interval_around_every_figure() -> None:
    figures = measure(lambda source, driving: source)
    values = figures.as_dict()
    assert set(values["intervals"]) == {name for name, value in values.items() if isinstance(value, float)}
    assert all(low <= values[name] <= high for name, (low, high) in values["intervals"].items())


def test_several_animators_are_judged_as_each_alone() -> None:
    first, second = Known(lambda source, driving: driving), Known(lambda source, driving: source)
    both = reconstruct({"a": first, "b": second}, range(2), 4)
    assert both == {name: reconstruct({"": each}, range(2), 4)[""] for name, each in (("a", first), ("b", second))}


def test_half_way_is_half_the_error() -> None:
    between = measure(lambda source, driving: ((source.astype(np.uint16) + driving) // 2).astype(np.uint8))
    assert between["inside_ratio"] == pytest.approx(0.5, abs=0.02)


def test_inside_and_outside_by_hand() -> None:
    """One clip of two frames, black pictures: the error is the mean of the true picture in each region."""
    source, driver = Puppet(0, "test").clip(2, 5.0)
    union = source.figure | driver.figure
    black = reconstruct({"": Known(lambda source, driving: np.zeros_like(driving))}, [0], 2)[""]
    assert black["inside"] == pytest.approx(driver.image[union].mean() / 255, rel=1e-5)
    assert black["outside"] == pytest.approx(driver.image[~union].mean() / 255, rel=1e-5)


def test_the_background_stands_still_and_the_figure_does_not() -> None:
    """What makes the two regions worth telling apart."""
    still = measure(lambda source, driving: source)
    assert still["repeated_outside"] < 0.003 < 0.03 < still["repeated_inside"]


def test_the_grid_has_drivers_above_and_sources_beside() -> None:
    grid = animation_grid(Known(lambda source, driving: driving), 2, 3)
    assert grid.shape == (3 * 256, 4 * 256, 3)
    np.testing.assert_array_equal(grid[256:512, :256], Puppet(0, "test").frame(0).image)
    np.testing.assert_array_equal(grid[256:512, 256:], grid[:256, 256:])
