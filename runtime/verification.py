"""A backend is proved before it is used: by a whole frame, and once by the bundle's golden pairs.

Libraries build what they run: FP16 engines have come out black, or silently in another precision. What is found is
kept, beside the engines where there are any, so that a model opens as fast the next time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from maskanim.bundle import Bundle
from maskanim.driver import read_driver
from maskanim.errors import MaskanimError
from maskanim.golden import Animated, agreement, read_golden
from maskanim.models import home, keep
from maskanim.ops import Frame
from maskanim.runtime.runner import Runner, encoded_source
from maskanim.spec import IMAGE_SIZE, NETWORK_NAMES, REDUCED_FRAME_PSNR, NetworkName

T = TypeVar("T")

DECIBELS = TypeAdapter(dict[NetworkName, float])
# In dB. The final frame counts. What r and l give may be moved by a pixel of a mask that falls on the other side of the
# threshold, and by BF16 (58 and 55 dB of an earlier demo); what is black, NaN or swapped lies far below.
ROUGH = 30.0
OUTPUTS: dict[NetworkName, str] = {"m": "mask", "r": "refined mask", "l": "coarse frame", "h": "final frame"}


def limits(least_psnr: float = REDUCED_FRAME_PSNR) -> dict[NetworkName, float]:
    """What each network's outputs keep of the golden ones, in dB; a user may be content with less than 45."""
    least = min(REDUCED_FRAME_PSNR, least_psnr)
    return {"m": least, "r": min(ROUGH, least), "l": min(ROUGH, least), "h": least}


def verify(
    bundle: Bundle,
    runner: Runner,
    backend: str,
    detail: str,
    *,
    again: bool = False,
    least_psnr: float = REDUCED_FRAME_PSNR,
) -> None:
    """Animate a frame, and the bundle's golden pairs unless this very backend did so before.

    Args:
        detail: library, version, processor and precision, by which a result is remembered.
        again: do not look for an earlier result.
        least_psnr: see `limits`.

    Raises:
        MaskanimError: the backend cannot run it, or its results are not those of PyTorch; names the network.
    """
    black = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    if bundle.manifest.golden is None:
        animate_pair(runner, black, black)
        return
    golden = bundle.manifest.golden.sha256
    files = [*(bundle.manifest.networks[name].sha256 for name in NETWORK_NAMES), golden]
    told = json.dumps([files, backend, detail, read_driver().version])
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    file = (runner.kept_in or home() / "verified") / f"verified-{key}.json"
    found = None if again else kept(file, DECIBELS)
    if found is None:
        found = agreement(read_golden(bundle), lambda source, driving: animate_pair(runner, source, driving))
        keep(file, found)
    else:
        animate_pair(runner, black, black)
    _require(found, backend, least_psnr)


def kept(file: Path, kind: TypeAdapter[dict[NetworkName, T]]) -> dict[NetworkName, T] | None:
    """What `models.keep` wrote of all four networks; None where nothing of the kind can be read."""
    try:
        found = kind.validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if len(found) == len(NETWORK_NAMES) else None


def animate_pair(runner: Runner, source: Frame, driving: Frame) -> Animated:
    """Every step of one frame, of a driving frame and a source of any size from 64x64."""
    with encoded_source(runner, source) as encoded:
        mask = runner.source_arrays(encoded).mask
        (result,) = runner.run(encoded, [runner.prepare(driving)], "steps")
        with np.errstate(invalid="ignore"):  # of a NaN; `verify` says in which network it is
            result.finish()
        assert result.steps
        return Animated(mask, result.steps.animation)


def _require(found: Mapping[NetworkName, float], backend: str, least_psnr: float = REDUCED_FRAME_PSNR) -> None:
    """Refuse what lies below a limit, and name the first network that is not right: those behind it only follow."""
    wanted = limits(least_psnr)
    short = [name for name, limit in wanted.items() if not found[name] >= limit]  # so that NaN fails
    if not short:
        return
    name = short[0]
    if name == "h":  # l, and before it r, may have used up their room and brought the frame down
        name = next(last for last, before in pairwise(reversed(NETWORK_NAMES)) if found[before] >= wanted["h"])
    told = "holds a NaN" if found[name] != found[name] else f"agrees with PyTorch's to {found[name]:.1f} dB"
    raise MaskanimError(
        f"engine {backend}, network {name}",
        f"its {OUTPUTS[name]} {told} on the bundle's golden pairs",
        f"at least {wanted['h']:g} dB",
        "Use another --engine, or --precision fp32; update its library or NVIDIA's driver",
    )
