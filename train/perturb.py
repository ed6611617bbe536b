"""P_train, equation (8): break the driver's identity out of his mask, batched on the mask's device (section 3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskanim.networks.ops import zero_low
from maskanim.spec import Perturbation
from maskanim.train.draws import RankSlice

# Where the strips may be cut, as shares of the mask's side: columns 15 to 45 of 64 in the authors' released code.
CUT_RANGE = (15, 45)
CUT_BASE = 64


def perturb_train(
    mask: Tensor,
    perturbation: Perturbation,
    generator: torch.Generator | None = None,
    *,
    strips: int = 6,
    zoom: tuple[float, float] = (0.75, 1.25),
    noise: float = 0.0,
    rank_slice: RankSlice | None = None,
    groups: int = 1,
) -> Tensor:
    """Zoom strips of each mask by random factors, along x and then along y, and apply P_test's threshold.

    Args:
        mask: (N, 1, S, S) in [0, 1].
        perturbation: the threshold.
        generator: source of the random cuts and factors, all drawn per mask.
        strips: how many parts each mask is broken into.
        zoom: range of the factors.
        noise: mean size of `poisson_noise`, which the released code adds at the end; not in the paper (0).
        rank_slice, groups: this process's part of the joint batch that is drawn for; see `RankSlice.part`.

    Returns:
        (N, 1, S, S) in [0, 1].
    """
    rank_slice = rank_slice or RankSlice()
    joint = rank_slice.joint(len(mask))
    for across in (True, False):
        cuts = rank_slice.part(draw_cuts(joint, strips, mask.shape[-1], generator), groups).to(mask.device)
        factors = rank_slice.part(draw_factors(joint, strips + 1, zoom, generator), groups).to(mask.device)
        turned = mask if across else mask.transpose(-1, -2)
        turned = zoom_strips(turned, cuts, factors[:, :strips], factors[:, strips])
        mask = turned if across else turned.transpose(-1, -2)
    mask = zero_low(mask, perturbation)
    if not noise:
        return mask
    seeds = rank_slice.part(torch.randint(2**62, (joint,), generator=generator), groups)
    return (mask + torch.stack([poisson_noise(mask[0], noise, int(seed)) for seed in seeds])).clamp(0, 1)


def poisson_noise(like: Tensor, mean: float, seed: int) -> Tensor:
    """Noise of the released code: a Poisson number of 255ths for each pixel, its sign at random.

    Args:
        like: gives the shape, the device and the type.
        mean: of the noise's size, 1 being white.
        seed: of a generator on the device, so that nothing has to be copied there.
    """
    generator = torch.Generator(like.device).manual_seed(seed)
    sizes = torch.poisson(torch.full_like(like, 255 * mean), generator=generator) / 255
    signs = torch.empty_like(like).bernoulli_(generator=generator)
    return sizes * (2 * signs - 1)


def draw_cuts(count: int, strips: int, size: int, generator: torch.Generator | None) -> Tensor:
    """(count, strips - 1) distinct sorted cut positions in pixels."""
    low, high = (round(edge * size / CUT_BASE) for edge in CUT_RANGE)
    order = torch.rand(count, high - low + 1, generator=generator).argsort(1)
    return (order[:, : strips - 1] + low).sort(1).values


def draw_factors(count: int, number: int, zoom: tuple[float, float], generator: torch.Generator | None) -> Tensor:
    """(count, number) factors, uniform in `zoom`."""
    return zoom[0] + (zoom[1] - zoom[0]) * torch.rand(count, number, generator=generator)


def zoom_strips(mask: Tensor, cuts: Tensor, factors: Tensor, whole: Tensor) -> Tensor:
    """Zoom each vertical strip's content along x about the strip's centre, then the whole mask along y about its own.

    A strip keeps its extent: its content is cropped, or surrounded by zeros. Bilinear, pixel centres at half pixels.

    Args:
        mask: (N, 1, H, W).
        cuts: (N, K-1) sorted columns; strip k covers the columns from cut k-1 up to, not including, cut k.
        factors: (N, K) zoom of each strip.
        whole: (N,) zoom of the whole.

    Returns:
        (N, 1, H, W).
    """
    height, width = mask.shape[-2:]
    columns = torch.arange(width, device=mask.device, dtype=mask.dtype) + 0.5
    strip = torch.searchsorted(cuts, columns.expand(len(mask), -1).contiguous(), right=True)
    edges = F.pad(cuts.to(mask.dtype), (1, 0))
    edges = torch.cat((edges, torch.full_like(edges[:, :1], width)), 1)
    left, right = edges.gather(1, strip), edges.gather(1, strip + 1)
    centre = (left + right) / 2
    x = centre + (columns - centre) / factors.gather(1, strip)
    mask = _sample_columns(mask, x, left, right)
    rows = torch.arange(height, device=mask.device, dtype=mask.dtype) + 0.5
    y = height / 2 + (rows - height / 2) / whole[:, None]
    bottom = torch.full_like(y, height)
    return _sample_columns(mask.transpose(-1, -2), y, torch.zeros_like(y), bottom).transpose(-1, -2)


def _sample_columns(mask: Tensor, x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Bilinear samples of the columns at `x` (N, W); what lies outside [left, right) counts as zero."""
    first = torch.floor(x - 0.5)
    share = (x - 0.5 - first).to(mask.dtype)
    out = torch.zeros_like(mask)
    for column, weight in ((first, 1 - share), (first + 1, share)):
        inside = (column >= left) & (column < right)
        index = column.clamp(0, mask.shape[-1] - 1).long()[:, None, None].expand_as(mask)
        out = out + mask.gather(-1, index) * (weight * inside)[:, None, None]
    return out
