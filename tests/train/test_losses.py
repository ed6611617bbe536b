"""The perceptual loss: which layers it compares, and what becomes of bad weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from maskanim.errors import MaskanimError
from maskanim.train.losses import (
    Perceptual,
    efficientnet_lite0,
    facial_detail,
    mask_entropy,
    perceptual_network,
    pixel_loss,
    pyramid,
    vgg19,
)


@pytest.fixture
def vgg_weights(tmp_path: Path) -> Path:
    """Random weights under torchvision's names, with the names of the later layers too."""
    torch.manual_seed(0)
    widths = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256)}
    widths |= {14: (256, 256), 16: (256, 256), 19: (512, 256), 21: (512, 512), 23: (512, 512), 25: (512, 512)}
    widths |= {28: (512, 512), 30: (512, 512)}
    state = {f"features.{i}.weight": torch.randn(o, c, 3, 3) / (3 * c**0.5) for i, (o, c) in widths.items()}
    state |= {f"features.{i}.bias": torch.randn(o) / 10 for i, (o, _) in widths.items()}
    torch.save(state, tmp_path / "vgg19.pth")
    return tmp_path / "vgg19.pth"


def test_vgg19_compares_relu_1_3_and_5(vgg_weights: Path) -> None:
    state = torch.load(vgg_weights, weights_only=True)

    def conv(x: torch.Tensor, i: int) -> torch.Tensor:
        return F.relu(F.conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], padding=1))

    image = torch.rand(1, 3, 32, 32)
    relu1_1 = conv(image, 0)
    relu2_1 = conv(F.max_pool2d(conv(relu1_1, 2), 2), 5)
    relu3_1 = conv(F.max_pool2d(conv(relu2_1, 7), 2), 10)
    for got, wanted in zip(vgg19(vgg_weights)(image), (relu1_1, relu2_1, relu3_1), strict=True):
        torch.testing.assert_close(got, wanted)


def test_more_layers_are_relu_9_and_13(vgg_weights: Path) -> None:
    """Torchvision's VGG-19: where its pools and convolutions are, by their numbers in `features`."""
    state = torch.load(vgg_weights, weights_only=True)
    convolutions = [int(name.split(".")[1]) for name in state if name.endswith("weight")]
    image = x = torch.rand(1, 3, 64, 64)
    maps = {}
    for i in range(30):
        if i in convolutions:
            x = F.relu(F.conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], padding=1))
            maps[i] = x
        elif i in (4, 9, 18, 27):
            x = F.max_pool2d(x, 2)
    got = vgg19(vgg_weights, 5)(image)
    for value, i in zip(got, (0, 5, 10, 19, 28), strict=True):
        torch.testing.assert_close(value, maps[i])
    assert len(vgg19(vgg_weights, 1)(image)) == 1


def test_layers_are_weighted(vgg_weights: Path) -> None:
    network = vgg19(vgg_weights, 2)
    a, b = torch.rand(2, 1, 3, 64, 64)
    first, second, both = (Perceptual(network, (64,), weights) for weights in ((1, 1e-9), (1e-9, 1), (2, 3)))
    expected = 2 * first(a, first.targets(b)) + 3 * second(a, second.targets(b))
    torch.testing.assert_close(both(a, both.targets(b)), expected)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_gaussian_shrink_is_the_plain_computation(factor: int) -> None:
    """Every pixel by itself, in double precision: a bell over the picture, nothing outside of it."""
    image = torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    got = pyramid(image, (32 // factor,), "gaussian")[0]
    sigma = (factor - 1) / 2
    radius = round(4 * sigma)
    for channel, row, column in ((0, 0, 0), (1, 1, 2), (0, 32 // factor - 1, 1)):
        total = weight = 0.0
        for y in range(-radius, radius + 1):
            for x in range(-radius, radius + 1):
                bell = math.exp(-(x * x + y * y) / (2 * sigma * sigma))
                weight += bell
                place = row * factor + y, column * factor + x
                if all(0 <= p < 32 for p in place):
                    total += bell * image[0, channel][place].item()
        assert got[0, channel, row, column].item() == pytest.approx(total / weight, abs=1e-6)
    assert pyramid(image, (32,), "gaussian")[0] is image


def test_the_loss_sums_layers_and_resolutions(vgg_weights: Path) -> None:
    network = vgg19(vgg_weights)
    loss = Perceptual(network, (256, 128, 64))
    a, b = torch.rand(2, 1, 3, 256, 256)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    expected = 0.0
    for k in (1, 2, 4):
        pair = [(F.avg_pool2d(x, k) - mean) / std for x in (a, b)]
        expected += sum((p - q).abs().mean().item() for p, q in zip(*(network(x) for x in pair), strict=True))
    assert loss(a, loss.targets(b)).item() == pytest.approx(expected, rel=1e-4)
    assert loss(a, loss.targets(a)).item() == 0


def test_efficientnet_lite0_compares_three_stages() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    maps = efficientnet_lite0().eval()(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 32, 32), (24, 16, 16), (40, 8, 8)]


def test_the_perceptual_network_is_never_trained() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    perceptual = Perceptual(perceptual_network("efficientnet-lite0", None), (64,)).train()
    before = {name: value.clone() for name, value in perceptual.state_dict().items()}
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    perceptual(image, perceptual.targets(torch.rand(2, 3, 64, 64))).backward()
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in perceptual.parameters())
    assert all(torch.equal(before[name], value) for name, value in perceptual.state_dict().items())


def test_the_detail_of_a_face_is_its_small_dark_parts() -> None:
    """Eyes in a bright face count, as far as they are darker; the face's outline, and dark hair above it, do not."""
    figure = torch.zeros(1, 1, 64, 64)
    figure[..., 10:20, 16:48] = 0.3  # hair
    figure[..., 20:50, 16:48] = 1.0
    figure[..., 28:31, 24:28] = figure[..., 28:31, 36:40] = 0.2  # eyes
    wanted = torch.zeros(1, 1, 64, 64)
    wanted[..., 27:32, 23:29] = wanted[..., 27:32, 35:41] = 0.8  # and a pixel around them
    torch.testing.assert_close(facial_detail(figure), wanted)


def test_the_detail_of_a_mask_may_count_more() -> None:
    """What is drawn wrong inside of a mouth counts as the weight says, elsewhere as ever."""
    target = torch.full((1, 1, 64, 64), 0.9)
    target[..., 30:33, 30:35] = 0.1  # a mouth
    wrong = target.clone()
    wrong[..., 31, 32] = 0.9
    lost = [mask_entropy(wrong, target, weight) - mask_entropy(target, target, weight) for weight in (0.0, 5.0)]
    torch.testing.assert_close(lost[1], lost[0] * (1 + 5 * 0.8))
    elsewhere = target.clone()
    elsewhere[..., 5, 5] = 0.5
    lost = [mask_entropy(elsewhere, target, weight) - mask_entropy(target, target, weight) for weight in (0.0, 5.0)]
    torch.testing.assert_close(lost[1], lost[0], rtol=1e-3, atol=0)


def test_the_pixels_of_a_loss_are_weighted() -> None:
    """A difference counts as its place does, at each resolution."""
    image, target = torch.zeros(2, 1, 3, 256, 256)
    image[..., 100:104, 40:44] = 1
    weights = torch.ones(1, 1, 64, 64)
    weights[..., 25, 10] = 5
    sizes = (256, 128, 64)
    torch.testing.assert_close(pixel_loss(image, target, sizes, weights=weights), 5 * pixel_loss(image, target, sizes))
    weights[..., 25, 10] = 1
    torch.testing.assert_close(pixel_loss(image, target, sizes, weights=weights), pixel_loss(image, target, sizes))


def test_pyramid_averages() -> None:
    image = torch.rand(1, 1, 256, 256)
    assert pyramid(image, (256,))[0] is image
    torch.testing.assert_close(pyramid(image, (64,))[0][0, 0, 3, 5], image[0, 0, 12:16, 20:24].mean())


@pytest.mark.parametrize("content", [None, b"", b"text", "foreign"])
def test_bad_vgg_weights(tmp_path: Path, content: object) -> None:
    path = tmp_path / "w.pth"
    if content == "foreign":
        torch.save({"conv.weight": torch.zeros(1)}, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(MaskanimError, match="expected a torchvision VGG-19 state dict"):
        vgg19(path)


def test_vgg19_without_weights_says_what_to_do() -> None:
    with pytest.raises(MaskanimError, match="--perceptual-weights"):
        perceptual_network("vgg19", None)
