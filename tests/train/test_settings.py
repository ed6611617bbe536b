"""Settings: the paper's numbers, the presets, and mistakes told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskanim.errors import MaskanimError
from maskanim.spec import LITE
from maskanim.train.settings import TrainSettings, load_settings, presets


def test_the_defaults_are_the_papers() -> None:
    s = TrainSettings()
    assert (s.batch, s.learning_rate, s.betas, s.epochs, s.decay_epochs) == (16, 2e-4, (0.5, 0.9), 100, (60, 90))
    assert (s.lambda_mask, s.lambda_reconstruct, s.lambda_pixel, s.perceptual) == (100, 10, 0, "vgg19")
    assert (s.resolutions, s.strips, s.zoom) == ((256, 128, 64), 6, (0.75, 1.25))
    assert (s.colour_scale, s.colour_hue, s.refine_from_epoch, s.high_res_from_epoch) == (0.1, 0.1, 1, 0)
    assert s.warmup.steps == s.warmup.weight == s.warmup.gain_steps == 0
    assert s.model.perturbation.kind == "median"
    assert not s.data.identity_sampling and s.data.mirror == 0 and s.data.repeats is None


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads(name: str) -> None:
    assert isinstance(load_settings(name, {}), TrainSettings)


def test_the_demo_is_lite_and_changes_apply() -> None:
    settings = load_settings("demo", {"seed": 7})
    assert settings.model.widths == LITE and settings.seed == 7


@pytest.mark.parametrize(
    ("name", "clips", "identities", "repeats"),
    [
        ("vox", (18556, 485), True, 75),
        ("taichi", (3016, 125), True, 150),
        ("bair", (42880, 128), False, 1),
    ],
)
def test_the_papers_data_sets(name: str, clips: tuple[int, int], identities: bool, repeats: int) -> None:
    """Counts of section 4; sampling of the released code. The rest is the paper's, but for VGG-19."""
    settings = load_settings(name, {})
    data = settings.data
    assert ((data.train_clips, data.test_clips), data.identity_sampling, data.repeats) == (clips, identities, repeats)
    assert settings.model_copy(update={"data": TrainSettings().data, "perceptual": "vgg19"}) == TrainSettings()


def test_the_released_code() -> None:
    settings = load_settings("released", {})
    assert settings.model.perturbation.kind == "fixed" and settings.data.mirror == 0.25
    assert settings.betas == (0.5, 0.999) and settings.resolutions == (256, 128, 64, 32)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "not readable as YAML"),
        ("[1, 2]", "a YAML list; expected a mapping"),
        ("colour: 1", "colour: 1; expected Extra inputs are not permitted"),
        ("batch: 0", "batch: 0; expected Input should be greater than or equal to 2"),
        ("perceptual: none", "set lambda_pixel"),
        ("model: {perturbation: {kind: fixed}}", "a threshold goes with the kind 'fixed'"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(MaskanimError) as error:
        load_settings(str(path), {})
    assert told in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(MaskanimError, match="demo"):
        load_settings("damo", {})
