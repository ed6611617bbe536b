"""Held-out sources animated by other held-out identities, to be looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskanim.benchmarks.quality.animates import Animates
from maskanim.ops import Frame
from maskanim.train.puppets import Puppet, PuppetFrame


def animation_grid(animator: Animates, sources: int, frames: int) -> Frame:
    """Held-out sources (first column) animated by other held-out identities (first row).

    Returns:
        ((sources + 1) * 256, (frames + 1) * 256, 3) uint8 RGB; the corner is white.
    """
    drivers = list(_strangers(sources, frames))
    rows = [np.hstack([np.full_like(drivers[0].image, 255), *(driver.image for driver in drivers)])]
    for i in range(sources):
        picture = Puppet(i, "test").frame(0).image
        encoded = animator.encode_source(picture)
        rows.append(np.hstack([picture, *(animator.animate(encoded, driver.image) for driver in drivers)]))
    return np.vstack(rows)


def _strangers(first: int, count: int) -> Iterator[PuppetFrame]:
    """Frames of identities that are none of the sources, each at another time."""
    return (Puppet(first + i, "test").frame(1.3 * i) for i in range(count))
