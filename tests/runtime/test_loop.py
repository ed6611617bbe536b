"""Threads in a row: in order, bounded, and stopped as one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from threading import Event

import pytest

from maskanim.runtime.loop import prefetch, write_behind


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("maskanim-")]


def failing(count: int) -> Iterator[int]:
    yield from range(count)
    raise OSError("no more")


def test_ahead_keeps_the_order() -> None:
    with prefetch(range(1000)) as items:
        assert list(items) == list(range(1000))


def test_behind_keeps_the_order_and_consumes_all() -> None:
    consumed: list[int] = []
    with write_behind(consumed.append) as hand_over:
        for i in range(1000):
            hand_over(i)
    assert consumed == list(range(1000))


def test_ahead_runs_in_another_thread_and_no_further_than_its_depth() -> None:
    made: list[str] = []
    full = Event()

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(threading.current_thread().name)
            if len(made) == 1 + 3 + 1:  # taken, waiting, and in hand
                full.set()
            yield i

    with prefetch(items(), depth=3) as taken:
        next(taken)
        assert full.wait(10)
        assert len(made) == 5 and set(made) == {"maskanim-prefetch_0"}


def test_behind_makes_the_giver_wait() -> None:
    given, go_on = [], Event()

    def consume(_: int) -> None:
        assert go_on.wait(10)

    def give() -> None:
        with write_behind(consume, depth=3) as hand_over:
            for i in range(10):
                hand_over(i)
                given.append(i)

    giver = threading.Thread(target=give)
    giver.start()
    giver.join(0.2)
    assert len(given) <= 1 + 3
    go_on.set()
    giver.join(10)
    assert given == list(range(10))


def test_an_error_ahead_comes_after_the_items_before_it() -> None:
    taken: list[int] = []
    with pytest.raises(OSError, match="no more"), prefetch(failing(10)) as items:
        for item in items:
            taken.append(item)
    assert taken == list(range(10))


def test_an_error_behind_reaches_the_giver_promptly() -> None:
    def consume(item: int) -> None:
        raise OSError("disk full")

    given = 0
    with pytest.raises(OSError, match="disk full"), write_behind(consume, depth=2) as hand_over:
        for given in range(1000):
            hand_over(given)
    assert given <= 1 + 2


def test_an_error_behind_at_the_very_end_is_raised_too() -> None:
    def consume(item: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), write_behind(consume) as hand_over:
        hand_over(0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_between_stops_both(error: type[BaseException]) -> None:
    made: list[int] = []
    consumed: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield len(made)

    with pytest.raises(error), prefetch(endless()) as items, write_behind(consumed.append) as hand_over:
        for item in items:
            hand_over(item)
            if item == 50:
                raise error
    assert consumed == sorted(consumed) and len(made) < 100
