"""Train the key-point network on drawn puppets: python -m maskanim.benchmarks.judges.train_puppets [FILE].

One thread and one seed: on the same processor and PyTorch the same weights. It needs the extra `train`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskanim.benchmarks.judges.puppets import (
    ABOUT,
    CELLS,
    HEAD,
    SIDE,
    WEIGHTS,
    WIDTHS,
    Finder,
    distances,
    heat_maps,
    shrink,
)
from maskanim.ops import Array
from maskanim.spec import IMAGE_SIZE
from maskanim.train.puppets import KEYPOINTS, Puppet, PuppetFrame, Split

SEED = 0
PUPPETS = 6000  # of the train split, one frame of each
HELD_OUT = 500  # of the test split
FIRST_HELD_OUT = 10_000  # beyond the numbers that the figures use
STEPS, BATCH, RATE = 2000, 24, 3e-3
SIGMA = 1.0  # cells, of the target's Gaussian
HIDDEN = 0.2  # weight of a key-point behind another part
TOLD_EVERY = 100


class Data(NamedTuple):
    """Small pictures (N, 3, 64, 64) in [-0.5, 0.5], key-points (N, 14, 2) in cells, and their weights (N, 14)."""

    images: Tensor
    places: Tensor
    weights: Tensor


def channels() -> dict[str, tuple[int, int]]:
    """Channels in and out of each convolution of `heat_maps`, by name."""
    found: dict[str, tuple[int, int]] = {}
    before = 3
    for level, width in enumerate(WIDTHS):
        found |= {f"down{level}a": (before, width), f"down{level}b": (width, width)}
        before = width
    for level in (3, 2, 1):
        found[f"up{level}"] = (before + WIDTHS[level], WIDTHS[level])
        before = WIDTHS[level]
    return found | {HEAD: (before, len(KEYPOINTS))}


class Network(nn.Module):
    """`puppets.heat_maps` with batch norm while it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict()
        for name, (before, after) in channels().items():
            convolution = nn.Conv2d(before, after, 3, padding=1)
            rest = () if name == HEAD else (nn.BatchNorm2d(after), nn.ReLU())
            self.blocks[name] = nn.Sequential(convolution, *rest)

    def forward(self, image: Tensor) -> Tensor:
        maps: Tensor = heat_maps(self, image)
        return maps

    def convolve(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self.blocks[name](x)
        return y

    def halve(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    def enlarge_beside(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1)

    def folded(self) -> dict[str, Array]:
        """The weights with batch norm in them, as `Finder` takes them."""
        found: dict[str, Array] = {}
        for name, block in self.blocks.items():
            layers: Any = block
            convolution = layers[0] if name == HEAD else nn.utils.fusion.fuse_conv_bn_eval(layers[0], layers[1])
            found |= {f"{name}.{key}": value.numpy() for key, value in convolution.state_dict().items()}
        return found


def drawn(first: int, count: int, split: Split) -> Iterator[PuppetFrame]:
    """One frame of each of some identities, each at another time."""
    return (Puppet(i, split).frame(0.37 * i) for i in range(first, first + count))


def load(count: int) -> Data:
    """Draw the training puppets."""
    images, places, weights = [], [], []
    for frame in drawn(0, count, "train"):
        images.append(shrink([frame.image])[0].transpose(2, 0, 1))
        places.append((frame.keypoints + 0.5) * CELLS / IMAGE_SIZE - 0.5)
        inside = ((frame.keypoints >= 0) & (frame.keypoints < IMAGE_SIZE)).all(-1)
        weights.append(np.where(frame.visible, 1.0, HIDDEN * inside))
    return Data(*(torch.from_numpy(np.stack(values)).float() for values in (images, places, weights)))


def degrade(images: Tensor) -> Tensor:
    """Blur, noise, brightness and contrast, as animated frames suffer them: each picture by its own amount."""
    n = len(images)
    for side in (SIDE // 2, SIDE // 4):
        blurred = F.interpolate(F.adaptive_avg_pool2d(images, side), size=SIDE, mode="bilinear")
        images = torch.lerp(images, blurred, torch.rand(n, 1, 1, 1) * (torch.rand(n, 1, 1, 1) < 0.3))
    images = images * (0.7 + 0.6 * torch.rand(n, 1, 1, 1)) + 0.2 * (torch.rand(n, 1, 1, 1) - 0.5)
    return images + 0.06 * torch.rand(n, 1, 1, 1) * torch.randn(images.shape)


def loss(logits: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy to a Gaussian about the key-point, and half its distance from the map's mean, in cells."""
    centres = torch.arange(CELLS, dtype=torch.float32)
    squares = (centres - places[..., None]) ** 2  # (N, 14, 2, 32)
    target = (-(squares[:, :, 0, None, :] + squares[:, :, 1, :, None]) / (2 * SIGMA**2)).flatten(2).softmax(-1)
    told = logits.flatten(2).log_softmax(-1)
    shares = told.exp().unflatten(2, (CELLS, CELLS))
    mean = torch.stack([shares.sum(2) @ centres, shares.sum(3) @ centres], -1)
    each = -(target * told).sum(-1) + 0.5 * (mean - places).abs().sum(-1)
    return (each * weights).sum() / weights.sum()


def train(data: Data, steps: int) -> Network:
    """Adam with a one-cycle learning rate; prints the loss."""
    torch.manual_seed(SEED)
    network = Network().train()
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(1, steps + 1):
        chosen = torch.randint(len(data.images), (BATCH,))
        value = loss(network(degrade(data.images[chosen])), data.places[chosen], data.weights[chosen])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if step % TOLD_EVERY == 0:
            print(f"step {step} of {steps}, loss {value.item():.3f}", flush=True)
    return network.eval()


def held_out_error(finder: Finder, count: int) -> float:
    """Pixels to the visible key-points of true frames that no training saw, on average."""
    frames = list(drawn(FIRST_HELD_OUT, count, "test"))
    return float(distances(finder.find([frame.image for frame in frames]), frames).mean())


def make(path: Path, puppets: int = PUPPETS, steps: int = STEPS, held_out: int = HELD_OUT) -> Finder:
    """Draw, train, measure, and write the weights as float16."""
    torch.set_num_threads(1)
    weights = {name: value.astype(np.float16) for name, value in train(load(puppets), steps).folded().items()}
    finder = Finder({name: value.astype(np.float32) for name, value in weights.items()}, {})
    about: dict[str, Any] = {
        "command": "python -m maskanim.benchmarks.judges.train_puppets",
        "puppets": puppets,
        "steps": steps,
        "batch": BATCH,
        "seed": SEED,
        "held_out": held_out,
        "torch": torch.__version__,
        "held_out_error": round(held_out_error(finder, held_out), 3),
    }
    contents: dict[str, Any] = weights | {ABOUT: np.array(json.dumps(about))}
    np.savez_compressed(path, **contents)
    print(f"{path}: {about['held_out_error']} px to the visible key-points of {held_out} held-out puppets")
    return Finder(finder.weights, about)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS)
