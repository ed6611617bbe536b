"""The building blocks of all four networks: Down, Up, Res, Hourglass and the anti-aliased shrink.

Every convolution has a bias and zero padding, as in the authors' released code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskanim.spec import LEVELS, MAX_WIDTH


class Down(nn.Module):
    """Convolution 3x3, batch norm, ReLU, average pool 2: (N, i, H, W) to (N, o, H/2, W/2)."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1)
        self.norm = nn.BatchNorm2d(o)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.relu(self.norm(self.conv(x))), 2)


class Up(nn.Module):
    """Nearest upsampling x2, convolution 3x3, batch norm, ReLU: (N, i, H, W) to (N, o, 2H, 2W)."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, padding=1)
        self.norm = nn.BatchNorm2d(o)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(F.interpolate(x, scale_factor=2.0))))


class Res(nn.Module):
    """A pre-activation residual block: (N, c, H, W) to the same."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(c), nn.BatchNorm2d(c)
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class Hourglass(nn.Module):
    """Five Down, five Up: (N, i, H, W) to (N, out_channels, H, W), H and W multiples of 32.

    The finest `skips` levels of the decoder are joined by the encoder levels of their size, the last by the input.
    Before its last Up stand `blocks` Res, before the Up before that half as many.
    """

    def __init__(self, i: int, base: int, *, skips: int, blocks: int = 0) -> None:
        super().__init__()
        widths = [min(MAX_WIDTH, base * 2**k) for k in range(LEVELS + 1)]
        self.skips = skips
        self.down_blocks = nn.ModuleList(Down(i if k == 0 else widths[k], widths[k + 1]) for k in range(LEVELS))
        taken = [widths[k + 1] * (2 if k + 1 < skips else 1) for k in range(LEVELS)]
        self.up_blocks = nn.ModuleList(Up(taken[k], widths[k]) for k in reversed(range(LEVELS)))
        counts = {0: blocks, 1: blocks // 2}
        self.res_blocks = nn.ModuleList(_residual(taken[k], counts.get(k, 0)) for k in reversed(range(LEVELS)))
        self.out_channels = base + (i if skips else 0)

    def forward(self, x: Tensor) -> Tensor:
        levels = [x]
        for down in self.down_blocks:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for res, up in zip(self.res_blocks, self.up_blocks, strict=True):
            x = up(res(x))
            skip = levels.pop()
            if len(levels) < self.skips:
                x = torch.cat((x, skip), 1)
        return x


def _residual(c: int, count: int) -> nn.Module:
    return nn.Sequential(*(Res(c) for _ in range(count))) if count else nn.Identity()


class AntiAliasedShrink(nn.Module):
    """Gaussian blur (13x13, sigma 1.5) and stride 4: (N, c, H, W) to (N, c, H/4, W/4). Not trained."""

    STRIDE, SIGMA, RADIUS = 4, 1.5, 6

    def __init__(self, channels: int) -> None:
        super().__init__()
        offsets = torch.arange(-self.RADIUS, self.RADIUS + 1, dtype=torch.float32)
        bell = torch.exp(-(offsets**2) / (2 * self.SIGMA**2))
        kernel = bell[:, None] * bell[None, :]
        self.weight: Tensor
        self.register_buffer("weight", (kernel / kernel.sum()).expand(channels, 1, -1, -1).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, stride=self.STRIDE, padding=self.RADIUS, groups=x.shape[1])
