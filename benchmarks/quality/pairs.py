"""One puppet to be animated by another, and what the outcome could look like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace

from maskanim.ops import Frame
from maskanim.train.puppets import Identity, Puppet, PuppetFrame

FIRST_DRIVER = 1000  # each source has a driver of its own, so that pairs are independent draws
START, BETWEEN = 0.5, 0.9  # seconds: the driver's frames show poses far from each other
COLOURS = ("skin", "hair", "top", "legs", "shoes", "sleeves", "trousers", "pattern")


@dataclass(frozen=True)
class Pair:
    """Two held-out identities.

    Attributes:
        source, driver: the puppets.
        picture: the source's picture.
        times, driving: the driver's frames, and when they are in seconds.
    """

    source: Puppet
    driver: Puppet
    picture: PuppetFrame
    times: list[float]
    driving: list[PuppetFrame]


def pairs(identities: Iterable[int], frames: int) -> Iterator[Pair]:
    """Each source of the test split with a driver that is nobody else's."""
    times = [START + BETWEEN * i for i in range(frames)]
    for i in identities:
        source, driver = Puppet(i, "test"), Puppet(FIRST_DRIVER + i, "test")
        yield Pair(source, driver, source.frame(0), times, [driver.frame(time) for time in times])


def own_shape(pair: Pair) -> list[Frame]:
    """The source as it would look in the driver's motion and place, drawn: colours, proportions and hair its own."""
    return _drawn(pair, replace(pair.source.identity, place=pair.driver.identity.place))


def borrowed_shape(pair: Pair) -> list[Frame]:
    """The same in the driver's proportions and hair style: its key-points are exactly the driver's."""
    colours = {name: getattr(pair.source.identity, name) for name in COLOURS}
    return _drawn(pair, replace(pair.driver.identity, **colours))


def _drawn(pair: Pair, identity: Identity) -> list[Frame]:
    puppet = copy(pair.source)
    puppet.identity, puppet._motion = identity, pair.driver._motion
    return [puppet.frame(time).image for time in pair.times]


# What the figures are for animators that are known; in the order of a table.
REFERENCES: dict[str, Callable[[Pair], list[Frame]]] = {
    "driver, true frames": lambda pair: [frame.image for frame in pair.driving],
    "source, repeated": lambda pair: [pair.picture.image] * len(pair.driving),
    "source, drawn in the driver's shape": borrowed_shape,
    "source, drawn in its own shape": own_shape,
}
