"""The watch over the masks, on made-up figures."""

from __future__ import annotations

import pytest

from maskanim.errors import MaskanimError
from maskanim.train.settings import MaskWatch
from maskanim.train.watch import CollapseWatch

GOOD = (0.1, 0.2)
WATCH = MaskWatch(window=3, patience=5)


def see(watch: CollapseWatch, figures: list[tuple[float, float]], first: int = 1) -> list[str | None]:
    return [watch.see(first + i, *pair) for i, pair in enumerate(figures)]


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ((0.0001, 0.0003), "collapsed to zero (mean 0.0001, deviation 0.0003 over 3 steps)"),
        ((0.9999, 0.001), "saturated (mean 0.9999, deviation 0.0010 over 3 steps)"),
        ((0.4, 0.002), "flat, the same everywhere (mean 0.4000, deviation 0.0020 over 3 steps)"),
    ],
)
def test_one_warning_then_a_stop(bad: tuple[float, float], found: str) -> None:
    watch = CollapseWatch(WATCH)
    told = see(watch, [bad] * 7)
    assert [line is not None for line in told] == [False, False, True, False, False, False, False]
    assert told[2] is not None and found in told[2] and "5 steps" in told[2] and "gain_steps" in told[2]
    with pytest.raises(MaskanimError) as error:
        watch.see(8, *bad)
    assert found in str(error.value) and "since step 3" in str(error.value) and "\n" not in str(error.value)


def test_a_few_bad_steps_are_nothing() -> None:
    assert not any(see(CollapseWatch(MaskWatch(window=10)), [GOOD] * 9 + [(0.0, 0.0)] * 8 + [GOOD] * 9))


def test_masks_that_come_back_start_the_count_anew() -> None:
    watch = CollapseWatch(WATCH)
    told = see(watch, [(0.0, 0.0)] * 6 + [GOOD] * 3 + [(0.0, 0.0)] * 6)
    assert sum(line is not None for line in told) == 2


def test_the_stop_can_be_left_out() -> None:
    told = see(CollapseWatch(MaskWatch(window=3, patience=None)), [(0.0, 0.0)] * 50)
    assert sum(line is not None for line in told) == 1 and "stops" not in str(told)
