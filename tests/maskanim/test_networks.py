"""The four networks: parameter counts and shapes of the released code, and what each block does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from maskanim.networks import Networks
from maskanim.networks.blocks import AntiAliasedShrink, Hourglass, Res
from maskanim.spec import FULL, LEVELS, LITE, MAX_WIDTH, NETWORKS, ModelSpec, Widths

TINY = Widths(m=4, r=4, l=8, h=4)


def parameter_counts(widths: Widths) -> dict[str, int]:
    networks = Networks(ModelSpec(widths=widths))
    return {name: sum(parameter.numel() for parameter in getattr(networks, name).parameters()) for name in NETWORKS}


def test_parameter_counts_of_the_full_model() -> None:
    assert parameter_counts(FULL) == {"m": 12_564_417, "r": 31_358_081, "l": 7_529_219, "h": 37_635_867}


def test_lite_fits_the_embedded_demo_at_half_precision() -> None:
    assert 2 * sum(parameter_counts(LITE).values()) < 21e6


@pytest.mark.parametrize("skips", [0, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_and_range(name: str, skips: int) -> None:
    network = NETWORKS[name]
    nets = Networks(ModelSpec(widths=TINY, mask_skips=skips)).eval()
    out = getattr(nets, name)(*(torch.rand(tensor.shape(2)) for tensor in network.inputs))
    assert tuple(out.shape) == network.output.shape(2)
    assert out.min() >= 0 and out.max() <= 1


def test_mask_has_a_border_of_three_zeros() -> None:
    mask = Networks(ModelSpec(widths=TINY)).eval().m(torch.rand(1, 3, 256, 256))[0, 0]
    assert (mask[3:-3, 3:-3] > 0).all()
    mask[3:-3, 3:-3] = 0
    assert (mask == 0).all()


def test_anti_aliased_shrink_is_the_plain_gaussian() -> None:
    """Against a direct computation: 13x13, sigma 1.5, zero outside the picture, every fourth pixel."""
    image = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    offsets = np.arange(-6, 7)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    padded = np.pad(image, 6)
    expected = [[(padded[y : y + 13, x : x + 13] * kernel).sum() for x in range(0, 16, 4)] for y in range(0, 16, 4)]
    got = AntiAliasedShrink(1)(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_hourglass_widths_double_and_stop() -> None:
    hourglass = Hourglass(8, 64, skips=LEVELS)
    assert [down.conv.out_channels for down in hourglass.down_blocks] == [128, 256, 512, 1024, MAX_WIDTH]
    assert [up.conv.in_channels for up in hourglass.up_blocks] == [1024, 2048, 1024, 512, 256]
    assert [up.conv.out_channels for up in hourglass.up_blocks] == [1024, 512, 256, 128, 64]
    assert hourglass.out_channels == 64 + 8


def test_skips_carry_the_input_to_the_end() -> None:
    x = torch.rand(1, 8, 32, 32)
    for skips in (1, 4, LEVELS):
        assert torch.equal(Hourglass(8, 4, skips=skips).eval()(x)[:, -8:], x)


def test_skips_join_the_finest_levels() -> None:
    assert [up.conv.in_channels for up in Hourglass(3, 4, skips=4).up_blocks] == [128, 64, 64, 32, 16]
    assert [up.conv.in_channels for up in Hourglass(3, 4, skips=1).up_blocks] == [128, 64, 32, 16, 8]
    assert Hourglass(3, 4, skips=0).out_channels == 4


def test_blocks_stand_before_the_two_finest_levels() -> None:
    """Those that add nothing leave the hourglass as it is without them."""
    torch.manual_seed(0)
    plain, joined = (Hourglass(3, 4, skips=4, blocks=blocks).eval() for blocks in (0, 3))
    assert [sum(isinstance(x, Res) for x in level.modules()) for level in joined.res_blocks] == [0, 0, 0, 1, 3]
    loaded = joined.load_state_dict(plain.state_dict(), strict=False)
    assert loaded.missing_keys and all(key.startswith("res_blocks.") for key in loaded.missing_keys)
    x = torch.rand(1, 3, 64, 64)
    assert not torch.equal(joined(x), plain(x))
    for module in joined.modules():
        if isinstance(module, Res):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
    assert torch.equal(joined(x), plain(x))


def test_refinement_blocks_are_those_of_r_and_written_only_where_they_are() -> None:
    plain, joined = ModelSpec(widths=TINY), ModelSpec(widths=TINY, refinement_blocks=2)
    assert "refinement_blocks" not in plain.model_dump() and ModelSpec.model_validate(joined.model_dump()) == joined
    nets = Networks(joined)
    assert [sum(isinstance(x, Res) for x in net.modules()) for net in (nets.m, nets.r)] == [0, 3]


def test_mask_skips_are_those_of_m_and_r_and_written_only_where_they_are() -> None:
    plain, joined = ModelSpec(widths=TINY), ModelSpec(widths=TINY, mask_skips=4)
    assert "mask_skips" not in plain.model_dump() and ModelSpec.model_validate(joined.model_dump()) == joined
    nets = Networks(joined)
    assert (nets.m.head.in_channels, nets.r.head.in_channels) == (4 + 3, 4 + 5)
    assert parameter_counts(TINY)["h"] == sum(parameter.numel() for parameter in nets.h.parameters())


def test_high_res_takes_the_coarse_frame_before_the_driving_mask() -> None:
    """The released code's channel order: image, source mask, coarse frame, driving mask."""
    nets = Networks(ModelSpec(widths=TINY)).eval()
    seen = []
    nets.h.hourglass.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    parts = [torch.full(tensor.shape(1), float(i)) for i, tensor in enumerate(NETWORKS["h"].inputs)]
    nets.h(*parts)
    assert seen[0][0, :, 0, 0].tolist() == [0, 0, 0, 1, 3, 3, 3, 2]
