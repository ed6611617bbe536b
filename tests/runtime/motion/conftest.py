"""A motion made of drawn masks."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from maskanim.bundle import Bundle
from maskanim.ops import Array
from maskanim.runtime.motion import MotionWriter


class Times(NamedTuple):
    """What a motion takes its times from."""

    time_base: Fraction = Fraction(1, 12800)
    rate: Fraction = Fraction(24000, 1001)
    frame_duration: int = 534


@pytest.fixture(scope="session")
def times() -> Times:
    return Times()


@pytest.fixture(scope="session")
def drawn_masks() -> Callable[[int], Array]:
    """(n, 1, 1, 64, 64) float32: a soft disc that moves, zero around it, with noise in every last bit."""

    def draw(count: int) -> Array:
        y, x = np.mgrid[:64, :64].astype(np.float32)
        rng, masks = np.random.default_rng(0), []
        for i in range(count):
            distance = np.hypot(x - 20 - 0.3 * i % 24, y - 30) + rng.normal(0, 0.01, (64, 64))
            soft = 1 / (1 + np.exp(distance - 12))
            masks.append(np.where(soft < 0.4, 0, soft).astype(np.float32))
        return np.stack(masks)[:, None, None]

    return draw


@pytest.fixture
def motion_file(tmp_path: Path, tiny_bundle: Bundle, drawn_masks: Any, times: Times) -> Path:
    """Three blocks, the last one not full, at a variable rate."""
    path = tmp_path / "motion.mmot"
    with MotionWriter(path, times, tiny_bundle) as writer:
        for i, mask in enumerate(drawn_masks(150)):
            writer.write(mask, 512 * i + i % 3)
    return path
