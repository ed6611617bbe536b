"""Training settings: typed, checked, loaded from a preset or a YAML file, and kept in every checkpoint."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from maskanim.errors import MaskanimError, needs_extra
from maskanim.spec import ModelSpec, Record


class Warmup(Record):
    """What keeps the masks from collapsing when there is little training.

    The figure maps of `steps` and `weight` exist for drawn data only, and real clips refuse them.

    Attributes:
        steps: before the first epoch, m learns the puppets' figure maps for this many steps.
        refine_from_step: from this step of the warm-up on, r learns to restore m's masks; None: not in the warm-up.
        batch: pictures per step of the warm-up.
        fade_steps: over the first steps of the first epoch the figure maps keep guiding m, their weight fading to zero.
        weight: of the guiding binary cross-entropy, before it fades.
        gain_steps: the mask heads' gain rises from 1 to its final 10 over each head's first steps.
        learning_rate: of the warm-up.
    """

    steps: int = Field(default=0, ge=0)
    refine_from_step: int | None = Field(default=None, ge=0)
    batch: int = Field(default=16, ge=2, multiple_of=2)
    fade_steps: int = Field(default=0, ge=0)
    weight: float = Field(default=0.0, ge=0)
    gain_steps: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=2e-4, gt=0)


class DataSettings(Record):
    """How pairs are drawn from real clips; drawn data has no use for it.

    Attributes:
        identity_sampling: one pass goes through the identities, one random clip of each, rather than through all clips.
            Names say who is in a clip: ``ID#video#start#end.mp4``, or a sub-folder ``ID``.
        repeats: passes through the clips (or identities) in an epoch, instead of `steps_per_epoch`. The paper does not
            say what an epoch is; the presets take the released code's numbers. None: `steps_per_epoch` counts.
        mirror: how often a pair is mirrored left to right; the paper does not mention it (0). The released code mirrors
            every fourth pair.
        train_clips, test_clips: how many the paper had (section 4); a folder with another number is used all the same,
            and the difference told.
    """

    identity_sampling: bool = False
    repeats: int | None = Field(default=None, ge=1)
    mirror: float = Field(default=0.0, ge=0, le=1)
    train_clips: int | None = Field(default=None, ge=1)
    test_clips: int | None = Field(default=None, ge=1)


class TrainSettings(Record):
    """How a model is trained. The defaults are the paper's (section 3.1) unless said otherwise.

    Attributes:
        model: the networks' widths and the perturbation.
        epochs, decay_epochs, decay: the learning rate is multiplied by `decay` when each of `decay_epochs` is complete.
        steps_per_epoch: steps of one epoch; synthetic data is endless, so this is what an epoch is there.
        batch: source-driving pairs per step.
        learning_rate, betas: Adam.
        lambda_mask, lambda_reconstruct: weights of the two loss terms.
        lambda_pixel: weight of a multi-resolution L1 beside the perceptual loss; not in the paper (0).
        perceptual: the perceptual network. The paper's is ``vgg19``; ``none`` only goes with `lambda_pixel`.
        resolutions: of the reconstruction loss, in pixels.
        colour_scale, colour_hue: ranges of the colour augmentation A.
        strips, zoom: of P_train.
        refine_from_epoch: r starts when this many epochs are complete.
        high_res_from_epoch: h starts when this many epochs are complete; the paper's is 0. h gives nothing back to the
            other networks, so starting it late changes only h, and makes the epochs before it cheaper.
        mask_head_rate: factor on the learning rate of the heads of m and r; the paper's is 1.
        precision: ``bf16`` runs the networks under autocast.
        identities: how many synthetic identities training draws from.
        seed: of weights, data and augmentation.
        warmup: see Warmup.
        data: see DataSettings.
    """

    model: ModelSpec = ModelSpec()
    epochs: int = Field(default=100, ge=1)
    decay_epochs: tuple[int, ...] = (60, 90)
    decay: float = Field(default=0.1, gt=0, le=1)
    steps_per_epoch: int = Field(default=1000, ge=1)
    batch: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=2e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.9)
    lambda_mask: float = Field(default=100.0, ge=0)
    lambda_reconstruct: float = Field(default=10.0, ge=0)
    lambda_pixel: float = Field(default=0.0, ge=0)
    perceptual: Literal["vgg19", "efficientnet-lite0", "none"] = "vgg19"
    resolutions: tuple[int, ...] = (256, 128, 64)
    colour_scale: float = Field(default=0.1, ge=0, lt=1)
    colour_hue: float = Field(default=0.1, ge=0, le=0.5)
    strips: int = Field(default=6, ge=1)
    zoom: tuple[float, float] = (0.75, 1.25)
    refine_from_epoch: int = Field(default=1, ge=0)
    high_res_from_epoch: int = Field(default=0, ge=0)
    mask_head_rate: float = Field(default=1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    identities: int = Field(default=4000, ge=1)
    seed: int = Field(default=0, ge=0)
    warmup: Warmup = Warmup()
    data: DataSettings = DataSettings()

    @model_validator(mode="after")
    def _something_is_reconstructed(self) -> TrainSettings:
        if self.perceptual == "none" and self.lambda_pixel == 0:
            raise ValueError("perceptual 'none' leaves nothing to learn from: set lambda_pixel")
        return self

    def for_units(self, units: int | None) -> TrainSettings:
        """The settings with `steps_per_epoch` as `data.repeats` asks for it.

        Args:
            units: clips, or identities, of one pass; None for drawn data, which has none.
        """
        if units is None or self.data.repeats is None:
            return self
        return self.model_copy(update={"steps_per_epoch": max(1, units * self.data.repeats // self.batch)})


def presets() -> list[str]:
    """The names of the presets that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in files("maskanim.train").joinpath("presets").iterdir())


def load_settings(name_or_file: str, changes: dict[str, Any]) -> TrainSettings:
    """A preset by name, or a YAML file, with some settings changed.

    Args:
        name_or_file: one of `presets()`, or the path of a YAML file with the fields of TrainSettings.
        changes: fields that replace those of the file.

    Raises:
        MaskanimError: no such preset or file, not YAML, an unknown setting or a bad value.
    """
    subject = f"--config {name_or_file}"
    with needs_extra("reading settings", "train"):
        import yaml
    try:
        values = yaml.safe_load(_config_text(name_or_file))
    except yaml.YAMLError as error:
        raise MaskanimError(subject, "not readable as YAML: " + " ".join(str(error).split()), "settings") from None
    if not isinstance(values, dict):
        raise MaskanimError(subject, f"a YAML {type(values).__name__}", "a mapping of settings")
    try:
        return TrainSettings.model_validate(values | changes)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise MaskanimError(f"{subject}, {where}", repr(first["input"])[:60], first["msg"]) from None


def _config_text(name_or_file: str) -> str:
    if name_or_file in presets():
        return files("maskanim.train").joinpath("presets").joinpath(f"{name_or_file}.yaml").read_text("utf-8")
    path = Path(name_or_file)
    if not path.is_file():
        raise MaskanimError(
            f"--config {name_or_file}", "neither a preset nor a file", f"a YAML file or one of {', '.join(presets())}"
        )
    return path.read_text("utf-8")
