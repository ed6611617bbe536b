"""What a metric is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Side = Literal["driving", "target", "source", ""]


class PerFrame(NamedTuple):
    """A metric on N frames: the figure of any set of them is the sum of `totals` over the sum of `counts`.

    Attributes:
        totals: (N,) float64.
        counts: (N,) float64; zero where there was nothing to judge, such as no face.
    """

    totals: NDArray[np.float64]
    counts: NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One figure of section 4.

    Attributes:
        name: as in the paper.
        better: which way.
        unit: of the figure; ``%`` shows a share as percent.
        feature: what it looks at, see `features.Observed`.
        against: what the generated frames are held against: the ``driving`` or ``target`` frame of the same number, or
            the ``source``; or nothing.
        judge: from the feature of the generated frames and of the others (None if there are none) to the figure; the
            others may be one for all of them.
        told: what it says, in a line.
        package: that computes it, where that is not this one.
    """

    name: str
    better: Literal["lower", "higher"]
    unit: str
    feature: str
    against: Side
    judge: Callable[[Any, Any], PerFrame]
    told: str
    package: str = ""
