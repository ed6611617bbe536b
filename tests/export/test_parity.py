"""The comparison itself: it must see differences, and tell flips at the threshold from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from maskanim.bundle import Difference
from maskanim.errors import MaskanimError
from maskanim.export.parity import (
    FramePair,
    NetworkFunctions,
    compare,
    require_parity,
    run_reference,
    torch_function,
)
from maskanim.golden import HIGHEST_PSNR, psnr
from maskanim.networks import Networks
from maskanim.ops import Array
from maskanim.spec import NETWORK_NAMES, NetworkName, Perturbation

EQUAL: dict[NetworkName, float] = dict.fromkeys(NETWORK_NAMES, 0.0)


def difference(networks: dict[NetworkName, float], frame_psnr: float) -> Difference:
    psnrs: dict[NetworkName, float] = dict.fromkeys(NETWORK_NAMES, 90.0)
    return Difference(
        max_difference=networks,
        frame_psnr=frame_psnr,
        network_psnr=psnrs,
        own_frame_psnr=frame_psnr,
        threshold_flips=0,
        mask_pixels=4096,
        flip_distance=0.0,
    )


def compared(nets: Any, candidate: NetworkFunctions, perturbation: Perturbation, pairs: list[FramePair]) -> Difference:
    return compare([run_reference(nets, perturbation, pair) for pair in pairs], candidate)


@pytest.fixture(scope="module")
def pairs() -> list[FramePair]:
    rng = np.random.default_rng(0)
    return [FramePair(*rng.random((2, 1, 3, 256, 256), np.float32)) for _ in range(2)]


def functions(nets: Networks) -> dict[NetworkName, Callable[..., Array]]:
    return {name: torch_function(getattr(nets, name)) for name in NETWORK_NAMES}


@pytest.mark.parametrize("perturbation", [Perturbation(), Perturbation(kind="fixed", threshold=0.5)])
def test_a_network_equals_itself(nets: Networks, pairs: list[FramePair], perturbation: Perturbation) -> None:
    found = compared(nets, NetworkFunctions(**functions(nets)), perturbation, pairs)
    # U differs by float32's rounding between NumPy and PyTorch, so the frame may too, but no network does.
    assert found.max_difference == EQUAL and found.threshold_flips == 0 and found.mask_pixels == 2 * 64 * 64
    assert set(found.network_psnr.values()) == {HIGHEST_PSNR} and found.flip_distance == 0
    assert found.frame_psnr > 120 and found.own_frame_psnr == found.frame_psnr
    require_parity(found)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_a_changed_network_is_named(nets: Networks, pairs: list[FramePair], name: NetworkName) -> None:
    changed = functions(nets)
    right = changed[name]
    changed[name] = lambda *inputs: right(*inputs) + np.float32(3e-4)
    found = compared(nets, NetworkFunctions(**changed), Perturbation(), pairs[:1])
    assert found.max_difference[name] == pytest.approx(3e-4, rel=1e-3)
    assert all(value == 0 for other, value in found.max_difference.items() if other != name)
    assert found.network_psnr[name] == pytest.approx(-20 * math.log10(3e-4), abs=0.01)
    with pytest.raises(MaskanimError, match=f"network {name} differs"):
        require_parity(found)


@pytest.mark.parametrize(("alone", "runs"), [(None, 4), (1, 3), (0, 2)])
def test_single_networks_are_looked_at_on_as_many_pairs_as_asked(
    nets: Networks, pairs: list[FramePair], alone: int | None, runs: int
) -> None:
    given: list[Array] = []
    changed = functions(nets)
    right = changed["h"]

    def h(*inputs: Array) -> Array:
        given.append(inputs[0])
        return right(*inputs) + np.float32(3e-4)

    references = [run_reference(nets, Perturbation(), pair) for pair in pairs]
    found = compare(references, NetworkFunctions(**{**changed, "h": h}), alone=alone)
    assert len(given) == runs and found.mask_pixels == 2 * 64 * 64
    assert found.frame_psnr == pytest.approx(-20 * math.log10(3e-4), abs=0.1)  # whichever pairs it is looked at on
    assert found.max_difference["h"] == pytest.approx(3e-4 if alone != 0 else 0, rel=1e-3)


def test_flips_at_the_threshold_are_counted_and_do_no_harm(nets: Networks, pairs: list[FramePair]) -> None:
    class FlatMask(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.full((len(image), 1, 64, 64), 0.5)

    def nearly_flat(image: Array) -> Array:
        mask = np.full((len(image), 1, 64, 64), 0.5, np.float32)
        mask[..., :5] += np.float32(1e-6)
        return mask

    reference = NetworkFunctions(FlatMask(), nets.r, nets.l, nets.h)
    candidate = NetworkFunctions(**{**functions(nets), "m": nearly_flat})
    found = compared(reference, candidate, Perturbation(kind="fixed", threshold=0.5), pairs[:1])
    assert found.threshold_flips == 5 * 64 and found.flip_distance == 0
    assert found.own_frame_psnr < found.frame_psnr - 10  # by itself the candidate keeps five columns of the mask
    require_parity(found)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (difference({**EQUAL, "r": math.nan}, 90.0), "network r"),
        (difference({**EQUAL, "l": 1.1e-4, "h": 0.5}, 90.0), "network l.*network h"),
        (difference(EQUAL, 59.0), "59.0 dB"),
        (difference(EQUAL, math.nan), "final frame"),
    ],
)
def test_differences_beyond_tolerance_fail(found: Difference, told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        require_parity(found)


def test_psnr() -> None:
    black = np.zeros((1, 3, 4, 4), np.float32)
    assert psnr(black, black) == 150
    assert psnr(black, black + np.float32(0.1)) == pytest.approx(20)
    assert math.isnan(psnr(black, np.full_like(black, np.nan)))
