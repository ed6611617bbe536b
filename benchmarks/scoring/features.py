"""What is observed in frames: key-points, embeddings, people and expressions; computed once, when a metric asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Array, Frame

Flags = NDArray[np.bool_]


class Keypoints(NamedTuple):
    """Key-points of N frames.

    Attributes:
        places: (N, K, 2) float64, x and y in pixels of 256; without meaning where not found.
        found: (N, K) bool.
    """

    places: NDArray[np.float64]
    found: Flags


class Embeddings(NamedTuple):
    """Embeddings of N frames.

    Attributes:
        values: (N, D) float32; without meaning where not found.
        found: (N,) bool, whether there was something to embed.
        mean: (D,) float32, of many identities: what is taken away before a cosine is.
    """

    values: Array
    found: Flags
    mean: Array


class People(NamedTuple):
    """The figure in N frames.

    Attributes:
        present: (N,) bool, whether there is one.
        masks: (N, 256, 256) bool, where it is.
    """

    present: Flags
    masks: Flags


class Classes(NamedTuple):
    """A class of each of N frames.

    Attributes:
        values: (N,) int64; without meaning where not found.
        found: (N,) bool, whether there was something to classify.
    """

    values: NDArray[np.int64]
    found: Flags


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
        """A feature: ``frames``, or what the observer of that name returns."""
        if name not in self._seen:
            self._seen[name] = self._observers[name](self)
        return self._seen[name]


Observer = Callable[[Observed], Any]
