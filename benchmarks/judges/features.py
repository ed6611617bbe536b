"""What is observed in frames, computed once, when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Frame

Flags = NDArray[np.bool_]


class Feature(NamedTuple):
    """Something that was looked for in N frames."""

    # without meaning where not found. Key-points: (N, K, 2) float64, x and y in pixels of 256. Embeddings: (N, D)
    # float32, less the mean of many identities where that is known. People: masks, (N, 256, 256) bool. Expressions:
    # classes, (N,) int64. Heads: (N, 6) float64, see `heads.read_heads`.
    values: NDArray[Any]
    found: Flags  # (N,) bool; of key-points (N, K)

    @classmethod
    def joined(cls, parts: Iterable[Feature]) -> Feature:
        """One after the other."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def first(self, count: int) -> Feature:
        """Of the first frames."""
        return Feature(self.values[:count], self.found[:count])

    @property
    def anything(self) -> Flags:
        """(N,): the frames in which any of it was found."""
        return np.asarray(self.found.reshape(len(self.found), -1).any(1))


class Observed:
    """Frames and what observers see in them, each thing looked for at most once.

    Args:
        frames: (256, 256, 3) uint8 RGB each; at least one.
        observers: by the name of what they see.
        known: what need not be observed, because it is known exactly.
    """

    def __init__(
        self, frames: Sequence[Frame], observers: Mapping[str, Observer], known: Mapping[str, Any] | None = None
    ) -> None:
        self.frames = frames
        self._observers = observers
        self._seen: dict[str, Any] = {"frames": frames, **(known or {})}

    def __len__(self) -> int:
        return len(self.frames)

    def see(self, name: str) -> Any:
        """``frames``, or what the observer of that name returns: a Feature, or for ``faces`` a `faces.Faces`."""
        if name not in self._seen:
            self._seen[name] = self._observers[name](self)
        return self._seen[name]


Observer = Callable[[Observed], Any]
