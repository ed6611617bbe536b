"""The two protocols on drawn puppets of the test split, whose key-points and figures are known exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from maskanim.benchmarks.quality.animates import Animates
from maskanim.benchmarks.quality.pairs import pairs
from maskanim.benchmarks.quality.reconstruction import CLIP_FPS
from maskanim.benchmarks.scoring.engine import Case, Footage
from maskanim.benchmarks.scoring.observers.puppets import PuppetPeople, known
from maskanim.ops import Frame
from maskanim.train.puppets import Puppet, PuppetFrame


def reconstruction(model: Animates, method: str, identities: Iterable[int], frames: int) -> list[Case]:
    """Section 4.1: clips of so many frames, the source included, rebuilt from their first."""

    def case(number: int) -> Case:
        def opened_on(_: ExitStack) -> Footage:
            puppet = Puppet(number, "test")
            source, *driving = puppet.clip(frames, CLIP_FPS)
            return _footage(model, method, puppet, source, driving, is_target=True)

        return Case(f"puppet {number}", opened_on, (method,))

    return [case(number) for number in identities]


def animation(model: Animates, method: str, identities: Iterable[int], frames: int) -> list[Case]:
    """Section 4.2: each source with a driver of its own, as `quality.pairs` has them."""

    def case(number: int) -> Case:
        def opened_on(_: ExitStack) -> Footage:
            (pair,) = pairs([number], frames)
            return _footage(model, method, pair.source, pair.picture, pair.driving, is_target=False)

        return Case(f"puppet {number}", opened_on, (method,))

    return [case(number) for number in identities]


def _footage(
    model: Animates, method: str, puppet: Puppet, source: PuppetFrame, driving: Sequence[PuppetFrame], is_target: bool
) -> Footage:
    def between(first: int, end: int) -> Mapping[str, Any]:
        return known(driving[first:end])

    return Footage(
        driving=(frame.image for frame in driving),
        generated={method: _animated(model, source.image, driving)},
        target="driving" if is_target else None,
        source=source.image,
        known=between,
        source_known=known([source]),
        observers={"people": PuppetPeople(puppet.background)},
    )


def _animated(model: Animates, source: Frame, driving: Sequence[PuppetFrame]) -> Iterator[Frame]:
    encoded = model.encode_source(source)
    for frame in driving:
        yield model.animate(encoded, frame.image)
