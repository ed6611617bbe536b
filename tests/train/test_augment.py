"""A, the colour augmentation: its ranges on pictures whose answer is known (section 3.1)."""

from __future__ import annotations

import colorsys

import torch

from maskanim.networks.ops import downscale
from maskanim.train.augment import ColourAugmentation, reframe
from maskanim.train.draws import RankSlice
from maskanim.train.settings import Ablations, TrainSettings

COUNT = 200


def augmented(colour: tuple[float, float, float], **changes: float) -> torch.Tensor:
    """(COUNT, 3): what becomes of pictures of one plain colour."""
    torch.manual_seed(0)
    pictures = torch.tensor(colour).view(1, 3, 1, 1).expand(COUNT, -1, 8, 8).contiguous()
    out: torch.Tensor = ColourAugmentation(TrainSettings(**changes))(pictures)
    assert (out == out[..., :1, :1]).all(), "a plain picture stays plain"
    return out[..., 0, 0]


def test_brightness_is_scaled_by_up_to_a_tenth() -> None:
    """A plain grey has no contrast, saturation or hue: what changes is its brightness, for each picture anew."""
    scales = augmented((0.5, 0.5, 0.5)) / 0.5
    torch.testing.assert_close(scales, scales[:, :1].expand(-1, 3), atol=1e-4, rtol=0)
    assert 0.9 - 1e-4 <= scales.min() < 0.91 and 1.09 < scales.max() <= 1.1 + 1e-4
    assert len(scales[:, 0].unique()) > COUNT / 2


def test_hue_is_shifted_by_up_to_a_tenth_of_the_circle() -> None:
    hues = [colorsys.rgb_to_hsv(*colour)[0] for colour in augmented((0.2, 0.5, 0.5), colour_scale=0.0).tolist()]
    shifts = torch.tensor(hues) - 0.5  # cyan
    assert -0.1 - 1e-3 <= shifts.min() < -0.09 and 0.09 < shifts.max() <= 0.1 + 1e-3


def test_contrast_pulls_towards_the_mean_and_saturation_towards_grey() -> None:
    torch.manual_seed(0)
    half = torch.zeros(COUNT, 3, 8, 8)
    half[..., 4:] = 0.8
    out = ColourAugmentation(TrainSettings(colour_hue=0.0))(half)
    dark, light = out[:, 0, 0, 0], out[:, 0, 0, -1]
    assert (dark >= 0).all() and (dark > 0.01).any(), "lower contrast lifts the dark half"
    assert (light - dark).min() < 0.7 and (light - dark).max() > 0.85
    green = augmented((0.2, 0.6, 0.2), colour_hue=0.0)
    ratio = (green[:, 1] - green[:, 0]) / green.mean(1)
    assert ratio.min() < ratio.max() - 0.05


def test_no_range_is_no_change() -> None:
    torch.testing.assert_close(
        augmented((0.3, 0.6, 0.2), colour_scale=0.0, colour_hue=0.0)[0], torch.tensor((0.3, 0.6, 0.2))
    )


def test_pictures_stay_in_range() -> None:
    out = augmented((1.0, 0.9, 0.02))
    assert out.min() >= 0 and out.max() <= 1


def test_several_batches_change_alike() -> None:
    a, b = torch.rand(2, 3, 3, 8, 8)
    augment = ColourAugmentation(TrainSettings())
    torch.manual_seed(3)
    expected_a = augment(a)
    torch.manual_seed(3)
    expected_b = augment(b)
    torch.manual_seed(3)
    for got, expected in zip(augment.alike(a, b), (expected_a, expected_b), strict=True):
        assert torch.equal(got, expected)


def test_processes_draw_for_the_joint_batch() -> None:
    pictures = torch.rand(8, 3, 8, 8)
    for groups in (1, 2):
        torch.manual_seed(4)
        whole = ColourAugmentation(TrainSettings())(pictures)
        for rank in range(2):
            part = RankSlice(rank, 2)
            torch.manual_seed(4)
            mine = ColourAugmentation(TrainSettings(), part)(part.part(pictures, groups), groups)
            assert torch.equal(mine, part.part(whole, groups))


def test_the_ablation_changes_nothing() -> None:
    pictures = torch.rand(2, 3, 8, 8)
    off = TrainSettings(ablations=Ablations(no_color_aug=True))
    assert torch.equal(ColourAugmentation(off)(pictures), pictures)


def test_a_figure_stays_on_its_object_wherever_that_is_shown() -> None:
    torch.manual_seed(0)
    images = torch.zeros(40, 3, 256, 256)
    images[:, :, 80:176, 96:160] = 1  # away from the edges, which are repeated
    figures = downscale(images[:, :1])
    moved, maps = reframe(images, figures, 1.0)
    assert (downscale(moved[:, :1]) - maps).abs().mean() < 0.01
    areas = maps.flatten(1).mean(1) / figures[0].mean()
    assert areas.min() < 0.3 and areas.max() > 2
    seen = maps.flatten(2).argmax(2)
    assert len(seen.unique()) > 20  # in many places


def test_reframing_keeps_the_others_and_treats_a_pair_alike() -> None:
    torch.manual_seed(0)
    images, figures = torch.rand(40, 3, 256, 256), torch.rand(40, 1, 64, 64)
    images[20:], figures[20:] = images[:20], figures[:20]
    moved, maps = reframe(images, figures, 0.5, groups=2)
    kept = (moved == images).flatten(1).all(1)
    assert 5 <= kept[:20].sum() <= 15 and torch.equal(kept, (maps == figures).flatten(1).all(1))
    assert torch.equal(moved[:20], moved[20:]) and torch.equal(maps[:20], maps[20:])
    assert torch.equal(reframe(images, figures, 0.0)[0], images)


def test_reframing_does_not_depend_on_how_many_processes_share_a_batch() -> None:
    images, figures = torch.rand(8, 3, 256, 256), torch.rand(8, 1, 64, 64)
    torch.manual_seed(3)
    whole = reframe(images, figures, 0.7, groups=2)
    for rank in range(2):
        part = RankSlice(rank, 2)
        torch.manual_seed(3)
        mine = reframe(part.part(images, 2), part.part(figures, 2), 0.7, part, groups=2)
        assert all(torch.equal(a, part.part(b, 2)) for a, b in zip(mine, whole, strict=True))
