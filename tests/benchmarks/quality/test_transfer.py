"""One puppet animated by another: animators whose figures are known, and colours and shapes by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from maskanim.benchmarks.judges.puppets import Finder
from maskanim.benchmarks.quality.colours import LOCATED, average, difference, locate, mean_colours, true_colours
from maskanim.benchmarks.quality.puppets import REFERENCES, Figures, pairs, transfer
from maskanim.ops import Frame
from maskanim.train.puppets import Puppet

IDENTITIES, FRAMES = range(8), 3


class Known:
    """Stands in for an Animator: what it makes is a function of the source and the driving picture."""

    def __init__(self, make: Callable[[Frame, Frame], Frame]) -> None:
        self.make = make

    def encode_source(self, image: Frame) -> Frame:
        return image

    def animate(self, source: Frame, frame: Frame) -> Frame:
        return self.make(source, frame)


@pytest.fixture(scope="module")
def known() -> dict[str, Figures]:
    still, mimic = Known(lambda source, driving: source), Known(lambda source, driving: driving)
    return transfer({"still": still, "mimic": mimic}, IDENTITIES, FRAMES, references=True)


@pytest.fixture(scope="module")
def floor() -> float:
    return float(Finder.load().about["held_out_error"])


def test_the_driver_himself_has_his_pose_and_another_identity(known: dict[str, Figures], floor: float) -> None:
    mimic = known["mimic"]
    assert mimic["keypoints"] < 1.3 * floor and mimic["identity_kept"] == 0 and mimic["to_driver"] < mimic["to_source"]
    assert known["driver, true frames"] == mimic


def test_the_source_at_rest_has_her_identity_and_another_pose(known: dict[str, Figures]) -> None:
    still = known["still"]
    assert still["keypoints"] > 20 and still["identity_kept"] == 1
    assert known["source, repeated"] == still


def test_a_perfect_animator_has_both(known: dict[str, Figures], floor: float) -> None:
    perfect = known["source, drawn in the driver's shape"]
    assert perfect["keypoints"] < 1.3 * floor and perfect["identity_kept"] == 1 and perfect["shape_kept"] == 0


def test_a_perfect_animator_that_keeps_its_proportions(known: dict[str, Figures], floor: float) -> None:
    perfect = known["source, drawn in its own shape"]
    assert perfect["shape_kept"] == 1 and perfect["identity_kept"] == 1
    assert floor < perfect["keypoints"] < 12  # the target can be met without borrowing the driver's proportions


def test_an_interval_around_every_figure(known: dict[str, Figures]) -> None:
    for each in known.values():
        assert each.counts == {"pairs": len(IDENTITIES), "frames": FRAMES}
        assert all(estimate.low <= estimate.value <= estimate.high for estimate in each.estimates.values())


def test_one_animator_alone_is_judged_the_same(known: dict[str, Figures]) -> None:
    assert transfer({"": Known(lambda source, driving: source)}, IDENTITIES, FRAMES)[""] == known["still"]


def test_no_driver_is_a_source_or_used_twice() -> None:
    each = list(pairs(range(4), 1))
    drivers = {pair.driver.identity for pair in each}
    assert len(drivers) == 4 and not drivers & {Puppet(i, "test").identity for i in range(200)}


def test_the_source_is_drawn_in_the_drivers_pose() -> None:
    """In the driver's shape the figure covers the driver's, before the source's own background."""
    (pair,) = pairs([0], 2)
    assert all(len(make(pair)) == 2 for make in REFERENCES.values())
    own, borrowed = pair.own_shape(), pair.borrowed_shape()
    for frame, a, b in zip(pair.driving, own, borrowed, strict=True):
        figure = frame.figure
        np.testing.assert_array_equal(b[~_grown(figure)], pair.source.background[~_grown(figure)])
        assert (np.abs(b.astype(int) - pair.source.background).sum(-1)[figure] > 0).mean() > 0.95
        assert not np.array_equal(a, b)
    assert pair.source.identity == Puppet(0, "test").identity  # drawing changed nobody


def test_colours_are_those_of_the_identity() -> None:
    for i in range(12):
        puppet = Puppet(i)
        who = puppet.identity
        colours = dict(zip(LOCATED, true_colours(puppet.frame(0.3)) * 255, strict=True))
        sleeve = [int(0.85 * v) for v in who.top]
        assert colours["thigh"] == pytest.approx(who.legs, abs=3)  # pixels at the edge are anti-aliased
        assert colours["upper_arm"] == pytest.approx(who.skin if who.sleeves == "none" else sleeve, abs=3)
        if who.pattern == "plain":
            assert colours["trunk"] == pytest.approx(who.top, abs=3)


def test_found_parts_lie_on_the_true_ones() -> None:
    for i in range(12):
        frame = Puppet(i).frame(0.3)
        found = mean_colours(frame.image, locate(frame.keypoints))
        assert difference(found, true_colours(frame)) < 0.03


def test_parts_that_are_not_seen_are_left_out() -> None:
    nothing, half, one = np.full((6, 3), np.nan), np.full((6, 3), 0.5), np.ones((6, 3))
    half[2:] = np.nan
    assert np.isnan(mean_colours(np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), np.uint8))).all()
    np.testing.assert_array_equal(average([half, nothing, one])[:3, 0], [0.75, 0.75, 1])
    assert np.isnan(average([nothing, nothing])).all()
    assert difference(half, one) == 0.5


def _grown(figure: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Two pixels of tolerance: the picture is anti-aliased, the ground truth is not."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(figure, 2), (5, 5)).any((2, 3))
