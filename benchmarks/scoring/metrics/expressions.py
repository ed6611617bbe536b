"""FES: whether the generated face has the driver's expression."""

from __future__ import annotations

import numpy as np

from maskanim.benchmarks.scoring.features import Classes
from maskanim.benchmarks.scoring.metrics.base import PerFrame


def fes(generated: Classes, driving: Classes) -> PerFrame:
    """Facial expression similarity: the share of driving faces whose expression, of seven, the generated face has.

    The paper does not say more than that it compares seven emotions; equality of the strongest is our reading, and a
    generated frame without a face counts as another expression.
    """
    same = (generated.values == driving.values) & generated.found & driving.found
    return PerFrame(same.astype(np.float64), driving.found.astype(np.float64))
