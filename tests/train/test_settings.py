"""Settings: the paper's numbers, the presets, and mistakes told in one line."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from maskanim.errors import MaskanimError
from maskanim.spec import LITE
from maskanim.train.settings import MaskWatch, TrainSettings, load_settings, parse_changes, presets


def test_the_defaults_are_the_papers() -> None:
    s = TrainSettings()
    assert (s.batch, s.learning_rate, s.betas, s.epochs, s.decay_epochs) == (16, 2e-4, (0.5, 0.9), 100, (60, 90))
    assert (s.lambda_mask, s.lambda_reconstruct, s.lambda_pixel, s.perceptual) == (100, 10, 0, "vgg19")
    assert (s.resolutions, s.strips, s.zoom) == ((256, 128, 64), 6, (0.75, 1.25))
    assert (s.colour_scale, s.colour_hue, s.refine_from_epoch, s.high_res_from_epoch) == (0.1, 0.1, 1, 0)
    assert s.warmup.steps == s.warmup.weight == s.warmup.gain_steps == s.adversarial.weight == 0
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
    assert settings.model.perturbation.threshold == 100 / 255
    assert settings.betas == (0.5, 0.999) and settings.resolutions == (256, 128, 64, 32)
    assert settings.noise == 20 / 255 and settings.blur == "gaussian" and settings.colour_target
    assert settings.layer_weights == (1, 1, 1) and settings.data.repeats == 75
    same = {
        name: getattr(TrainSettings(), name) for name in ("epochs", "decay_epochs", "decay", "learning_rate", "batch")
    }
    assert {name: getattr(settings, name) for name in same} == same


@pytest.mark.parametrize("name", ["vox", "taichi", "bair"])
def test_the_papers_presets_spell_its_settings_out(name: str) -> None:
    """Each with its section: nothing of the training is left to defaults that may be looked for elsewhere."""
    text = files("maskanim.train").joinpath("presets").joinpath(f"{name}.yaml").read_text("utf-8")
    own = {
        "lambda_pixel",
        "mask_head_rate",
        "precision",
        "identities",
        "seed",
        "warmup",
        "high_res_from_epoch",
        "stages",
    }
    own |= {"steps_per_epoch", "blur", "colour_target", "noise", "sync_batch_norm", "ablations", "watch", "cheaper"}
    own |= {"animation_pass", "lambda_mask_entropy", "detail_weight", "average", "int8", "adversarial"}
    assert set(yaml.safe_load(text)) == set(TrainSettings.model_fields) - own
    assert "section 3.1" in text and "section 4" in text


def test_the_rate_turns_where_the_paper_says() -> None:
    """Epochs are counted from 0 while they are under way: when 60 are complete, number 60 begins."""
    rates = [TrainSettings().during(epoch).learning_rate for epoch in range(100)]
    expected = [2e-4] * 60 + [2e-5] * 30 + [2e-6] * 10
    assert rates == pytest.approx(expected, rel=1e-12)


def test_stages() -> None:
    """A warm restart, a term that weighs more, and one after the other at rest."""
    stages = [
        {"from_epoch": 3, "learning_rate": 5e-4, "trains": "low_res"},
        {"from_epoch": 5, "lambda_pixel": 500.0, "trains": "high_res", "norm": "running", "masks": "restored"},
        {"from_epoch": 7},
    ]
    settings = TrainSettings(
        learning_rate=1e-3,
        decay_epochs=(2, 6),
        refine_from_epoch=2,
        high_res_from_epoch=1,
        lambda_pixel=100,
        stages=stages,
    )
    during = [settings.during(epoch) for epoch in range(8)]
    assert [now.learning_rate for now in during] == pytest.approx(
        [1e-3] * 2 + [1e-4] + [5e-4] * 2 + [1e-4] + [1e-5] * 2
    )
    assert [now.lambda_pixel for now in during] == [100] * 5 + [500] * 2 + [100]
    assert [now.low_res for now in during] == [True] * 5 + [False] * 2 + [True]
    assert [now.refine for now in during] == [False] * 2 + [True] * 3 + [False] * 2 + [True]
    assert [now.high_res for now in during] == [False] + [True] * 2 + [False] * 2 + [True] * 3
    assert [now.batch_norm for now in during] == [True] * 5 + [False] * 2 + [True]
    assert [now.restored for now in during] == [False] * 5 + [True] * 2 + [False]
    assert all(now.lambda_reconstruct == settings.lambda_reconstruct for now in during)


@pytest.mark.parametrize(
    "values", [[], ["batch=2"], ["batch=2", "warmup.steps=0", "warmup.batch=4", "betas=[0.5, 0.9]"]]
)
def test_changes_from_the_command_line(values: list[str]) -> None:
    settings = load_settings("demo", parse_changes(values))
    demo = load_settings("demo", {})
    assert settings.batch == (2 if values else demo.batch)
    many = len(values) > 1
    assert settings.warmup.steps == (0 if many else demo.warmup.steps)
    assert settings.warmup.batch == (4 if many else demo.warmup.batch)
    assert settings.warmup.learning_rate == demo.warmup.learning_rate, "its neighbours stay"
    assert settings.betas == (0.5, 0.9)


@pytest.mark.parametrize("text", ["batch", "=2", "batch=[", "seed=2026-13-45", ""])
def test_mistakes_on_the_command_line(text: str) -> None:
    with pytest.raises(MaskanimError, match="not a setting and its value"):
        parse_changes([text])


def test_the_watch_does_not_warn_of_the_papers_masks() -> None:
    """Mean and deviation that the demo's masks have."""
    watch = MaskWatch()
    assert watch.least_mean < 0.05 and watch.greatest_mean > 0.9 and watch.least_deviation < 0.1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "not readable as YAML"),
        ("seed: 2026-13-45", "not readable as YAML"),
        ("seed: 4294967296", "seed: 4294967296; expected Input should be less than 4294967296"),
        ("betas: [0.5, 1]", "betas.1: 1; expected Input should be less than 1"),
        ("zoom: [0, 1]", "zoom.0: 0; expected Input should be greater than 0"),
        ("strips: 33", "strips: 33"),
        ("resolutions: [256, 100]", "resolutions.1: 100; expected Input should be 256, 128, 64 or 32"),
        ("resolutions: []", "resolutions: []"),
        ("[1, 2]", "a YAML list; expected a mapping"),
        ("colour: 1", "colour: 1; expected Extra inputs are not permitted"),
        ("batch: 0", "batch: 0; expected Input should be greater than or equal to 2"),
        ("perceptual: none", "set lambda_pixel"),
        ("model: {perturbation: {kind: fixed}}", "a threshold goes with the kind 'fixed'"),
        ("stages: [{from_epoch: 3}, {from_epoch: 2}]", "the epochs of stages must rise"),
        ("stages: [{from_epoch: 3, batch: 2}]", "stages.0.batch"),
        ("stages: [{from_epoch: 3, masks: restored}]", "masks: restored needs norm: running"),
        ("stages: [{from_epoch: 0, trains: refine}]", "nothing learns in epoch 0"),
        ("stages: [{from_epoch: 3, lambda_reconstruct: 0}]", "nothing to learn from in epoch 3: set lambda_pixel"),
        ("layer_weights: [1, 1, 1, 1, 1, 1]", "vgg19 has 1 to 5 layer_weights"),
        ("{perceptual: efficientnet-lite0, layer_weights: [1]}", "efficientnet-lite0 has 3 layer_weights"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(MaskanimError) as error:
        load_settings(str(path), {})
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"PK\x80\xff")
    with pytest.raises(MaskanimError, match="not readable as YAML"):
        load_settings(str(tmp_path / "last.pt"), {})


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(MaskanimError, match="demo"):
        load_settings("damo", {})
