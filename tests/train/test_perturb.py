"""P_train against a plain computation, pixel by pixel, in double precision."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from maskanim import ops
from maskanim.spec import Perturbation
from maskanim.train.draws import RankSlice
from maskanim.train.perturb import draw_cuts, draw_factors, perturb_train, poisson_noise, zoom_strips

KEEP_ALL = Perturbation(kind="fixed", threshold=0.0)


def sample(row: np.ndarray, x: float, left: int, right: int) -> float:
    """Linear interpolation between pixel centres; nothing beyond [left, right)."""
    first = int(np.floor(x - 0.5))
    share = x - 0.5 - first
    inside = [float(row[c]) if left <= c < right else 0.0 for c in (first, first + 1)]
    return (1 - share) * inside[0] + share * inside[1]


def plain_zoom(mask: np.ndarray, cuts: list[int], factors: list[float], whole: float) -> np.ndarray:
    """The paper's step for one mask: each strip about its own centre, then the whole about its centre."""
    height, width = mask.shape
    edges = [0, *cuts, width]
    out = np.zeros(mask.shape)
    for k, factor in enumerate(factors):
        left, right = edges[k], edges[k + 1]
        centre = (left + right) / 2
        for y in range(height):
            for x in range(left, right):
                out[y, x] = sample(mask[y], centre + (x + 0.5 - centre) / factor, left, right)
    zoomed = np.zeros(mask.shape)
    for y in range(height):
        at = height / 2 + (y + 0.5 - height / 2) / whole
        for x in range(width):
            zoomed[y, x] = sample(out[:, x], at, 0, height)
    return zoomed


def test_zoom_strips_is_the_plain_computation() -> None:
    generator = torch.Generator().manual_seed(1)
    masks = torch.rand(3, 1, 64, 64, generator=generator)
    cuts = draw_cuts(3, 6, 64, generator)
    factors = draw_factors(3, 7, (0.75, 1.25), generator)
    got = zoom_strips(masks, cuts, factors[:, :6], factors[:, 6])
    for i in range(3):
        expected = plain_zoom(masks[i, 0].numpy(), cuts[i].tolist(), factors[i, :6].tolist(), factors[i, 6].item())
        np.testing.assert_allclose(got[i, 0], expected, atol=1e-5)


def test_factor_one_changes_nothing() -> None:
    masks = torch.rand(2, 1, 64, 64)
    assert torch.allclose(perturb_train(masks, KEEP_ALL, zoom=(1.0, 1.0)), masks, atol=1e-6)


def test_a_strip_keeps_its_extent() -> None:
    """Shrunk content leaves zeros at the strip's own edges; a neighbour's content never comes in."""
    mask = torch.ones(1, 1, 64, 64)
    cuts = torch.tensor([[16, 24, 32, 40, 48]])
    out = zoom_strips(mask, cuts, torch.full((1, 6), 0.5), torch.ones(1))[0, 0, 30]
    edges = [0, 16, 24, 32, 40, 48, 64]
    for left, right in pairwise(edges):
        quarter = (right - left) // 4
        assert out[left].item() == 0 and out[right - 1].item() == 0
        assert (out[left + quarter : right - quarter] == 1).all()


def test_cuts_are_distinct_sorted_and_in_range() -> None:
    cuts = draw_cuts(500, 6, 64, torch.Generator().manual_seed(0))
    assert cuts.shape == (500, 5)
    assert (cuts.diff(dim=1) > 0).all()
    assert cuts.min() == 15 and cuts.max() == 45


def test_both_axes_are_broken_up() -> None:
    """Six columns and then six rows: a mask of vertical lines is moved by both."""
    generator = torch.Generator().manual_seed(3)
    lines = torch.zeros(1, 1, 64, 64)
    lines[..., ::8] = 1
    out = perturb_train(lines, KEEP_ALL, generator)
    assert not torch.allclose(out, lines, atol=0.1)
    turned = perturb_train(lines.transpose(-1, -2), KEEP_ALL, torch.Generator().manual_seed(3))
    assert not torch.allclose(out.transpose(-1, -2), turned, atol=0.1)


def test_every_mask_gets_its_own_draw() -> None:
    out = perturb_train(torch.rand(1, 1, 64, 64).expand(4, -1, -1, -1), KEEP_ALL)
    assert all(not torch.equal(out[0], other) for other in out[1:])


@pytest.mark.parametrize("perturbation", [Perturbation(), Perturbation(kind="fixed", threshold=0.4)])
def test_the_threshold_comes_last(perturbation: Perturbation) -> None:
    masks = torch.rand(3, 1, 64, 64)
    before = perturb_train(masks, KEEP_ALL, torch.Generator().manual_seed(5))
    after = perturb_train(masks, perturbation, torch.Generator().manual_seed(5))
    np.testing.assert_array_equal(after.numpy(), ops.perturb(before.numpy(), perturbation))


def test_the_same_generator_gives_the_same_draw() -> None:
    masks = torch.rand(2, 1, 64, 64)
    a, b = (perturb_train(masks, KEEP_ALL, torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(a, b)


def test_all_of_it_is_the_plain_computation() -> None:
    """Bands, factors, the canvas, the exchange of the axes and the median, from the same draws."""
    masks = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(6))
    got = perturb_train(masks, Perturbation(), torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(7)
    draws = [(draw_cuts(3, 6, 64, generator), draw_factors(3, 7, (0.75, 1.25), generator)) for _ in range(2)]
    for i in range(3):
        mask = masks[i, 0].numpy()
        for cuts, factors in draws:  # vertical bands, then, on the mask on its side, horizontal ones
            mask = plain_zoom(mask, cuts[i].tolist(), factors[i, :6].tolist(), factors[i, 6].item()).T
        kept = mask >= np.sort(mask.ravel())[(mask.size - 1) // 2]
        agree = np.isclose(got[i, 0], np.where(kept, mask, 0), atol=1e-5)
        assert (~agree).sum() <= 2, "only pixels within rounding of the median may fall on its other side"


def test_factors_fill_their_range_evenly() -> None:
    factors = draw_factors(1000, 7, (0.75, 1.25), torch.Generator().manual_seed(0))
    assert factors.shape == (1000, 7)
    counts = torch.histc(factors, 10, 0.75, 1.25)
    assert counts.sum() == 7000 and counts.min() > 600 and counts.max() < 800


def test_noise_is_poisson_with_a_random_sign() -> None:
    """Mean and variance of a Poisson number are equal; with the sign, its mean is zero. 255ths of white."""
    noise = 255 * poisson_noise(torch.zeros(40, 64, 64), 20 / 255, seed=0)
    torch.testing.assert_close(noise, noise.round(), atol=1e-4, rtol=0)
    assert abs(noise.mean()) < 0.3 and noise.abs().mean().item() == pytest.approx(20, abs=0.1)
    assert noise.abs().var().item() == pytest.approx(20, abs=0.5)
    assert not torch.equal(noise, 255 * poisson_noise(torch.zeros(40, 64, 64), 20 / 255, seed=1))


def test_noise_comes_last_and_stays_in_range() -> None:
    masks = torch.rand(3, 1, 64, 64)
    clean, noisy = (perturb_train(masks, KEEP_ALL, torch.Generator().manual_seed(5), noise=n) for n in (0, 20 / 255))
    assert noisy.min() == 0 and noisy.max() <= 1
    assert ((noisy - clean).abs() > 0.05).float().mean() > 0.4, "zeros get noise too, of which half is cut off"


@pytest.mark.parametrize("groups", [1, 2])
def test_processes_draw_for_the_joint_batch(groups: int) -> None:
    masks = torch.rand(8, 1, 64, 64)
    whole = perturb_train(masks, KEEP_ALL, torch.Generator().manual_seed(5), noise=0.1)
    for rank in range(2):
        part = RankSlice(rank, 2)
        generator = torch.Generator().manual_seed(5)
        mine = perturb_train(part.part(masks, groups), KEEP_ALL, generator, noise=0.1, rank_slice=part, groups=groups)
        assert torch.equal(mine, part.part(whole, groups))
