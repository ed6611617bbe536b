"""Training settings: typed, checked, loaded from a preset or a YAML file, and kept in every checkpoint."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, ValidationError, model_validator

from maskanim.errors import MaskanimError, needs_extra
from maskanim.spec import ModelSpec, Record

Beta = Annotated[float, Field(ge=0, lt=1)]


class Warmup(Record):
    """What keeps the masks from collapsing when there is little training.

    `steps` and `weight` need data with figure maps, which drawn and rendered data has and real clips refuse.

    Attributes:
        steps: before the first epoch, m learns the data's figure maps for this many steps.
        refine_from_step: from this step of the warm-up on, r learns to restore m's masks; None: not in the warm-up.
        batch: pictures per step of the warm-up.
        fade_steps: over the first steps of the first epoch the figure maps keep guiding m, their weight fading to zero.
        weight: of the guiding binary cross-entropy, before it fades.
        gain_steps: the mask heads' gain rises from 1 to its final 10 over each head's first steps.
        learning_rate: of the warm-up.
        reframe: how often a pair shows its object smaller, larger and beside the middle, so that m knows it from its
            surroundings where a picture is searched for it (crop auto); not in the paper (0).
    """

    steps: int = Field(default=0, ge=0)
    refine_from_step: int | None = Field(default=None, ge=0)
    batch: int = Field(default=16, ge=2, multiple_of=2)
    fade_steps: int = Field(default=0, ge=0)
    weight: float = Field(default=0.0, ge=0)
    gain_steps: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    reframe: float = Field(default=0.0, ge=0, le=1)


class DataSettings(Record):
    """How pairs are drawn from clips; of rendered people, `mirror` and `worsen` count, and puppets have no use for it.

    Attributes:
        identity_sampling: one pass goes through the identities, one random clip of each, rather than through all clips.
            Names say who is in a clip: ``ID#video#start#end.mp4``, or a sub-folder ``ID``.
        repeats: passes through the clips (or identities) in an epoch, instead of `steps_per_epoch`. The paper does not
            say what an epoch is; the presets take the released code's numbers. None: `steps_per_epoch` counts.
        mirror: how often a pair is mirrored left to right; the paper does not mention it (0). The released code mirrors
            every fourth pair.
        worsen: how often a pair is blurred, grained and compressed as a worse camera would, both frames alike; not in
            the paper (0). It helps a model of rendered people with real photographs.
        across: how often r restores the mask of another person who moves alike, rather than the driving frame's.
            Rendered data has it; the paper's has not (0).
        framing: what `people` that are drawn as training goes show: their heads, or whole bodies.
        train_clips, test_clips: how many the paper had (section 4); a folder with another number is used all the same,
            and the difference told.
    """

    identity_sampling: bool = False
    repeats: int | None = Field(default=None, ge=1)
    mirror: float = Field(default=0.0, ge=0, le=1)
    worsen: float = Field(default=0.0, ge=0, le=1)
    across: float = Field(default=0.0, ge=0, le=1)
    framing: Literal["head", "body"] = "head"
    train_clips: int | None = Field(default=None, ge=1)
    test_clips: int | None = Field(default=None, ge=1)


class Ablations(Record):
    """The paper's variants of training (section 4, Table 7): what each of them leaves out or adds.

    Attributes:
        no_color_aug: A changes no colours.
        h_update_l: the loss of f updates l as well as h. It does not reach m: h gets a coarse frame of its own, made
            by l from detached masks, which costs a second pass of l.
        h_update_m: the loss of f updates m as well, through the masks that h is given.
            With both, the loss of f also reaches m through c.
    """

    no_color_aug: bool = False
    h_update_l: bool = False
    h_update_m: bool = False


class MaskWatch(Record):
    """When the masks of m count as collapsed, and what happens then. It changes nothing in what is learned.

    Mean and deviation are those over the pixels of each mask without its border of zeros, averaged over the pictures of
    a step and over the last steps. A collapsed m says nothing of its picture and does not come back by itself: what is
    trained on its masks is lost time.

    Attributes:
        window: how many steps the figures are averaged over.
        least_mean, greatest_mean: outside of them the masks are empty or full.
        least_deviation: below it every pixel of a mask is the same.
        patience: training stops when the masks have stayed collapsed for so many steps after the warning; None: never.
    """

    window: int = Field(default=100, ge=1)
    least_mean: float = Field(default=0.005, ge=0, le=1)
    greatest_mean: float = Field(default=0.995, ge=0, le=1)
    least_deviation: float = Field(default=0.01, ge=0)
    patience: int | None = Field(default=2000, ge=0)


class Adversarial(Record):
    """An adversarial loss on c and f, so that faces become sharp; not in the paper. See `train.adversary`.

    Attributes:
        weight: of the loss; 0: none.
        features: within it, the weight of the L1 between the discriminator's feature maps of made and of real frames.
        from_epoch: the epoch from which the discriminator learns. It is for the end of training, as the demo's was.
        alone_steps: for so many steps it learns before it counts.
        learning_rate: the discriminator's.
        penalty: on the square of its gradient at real frames (R1).
        width: of its first layer; the widest has four times as much.
    """

    weight: NonNegativeFloat = 0.0
    features: NonNegativeFloat = 2.0
    from_epoch: NonNegativeInt = 0
    alone_steps: NonNegativeInt = 200
    learning_rate: PositiveFloat = 4e-4
    penalty: NonNegativeFloat = 0.05
    width: int = Field(default=32, ge=1)


class TrainingStage(Record):
    """What counts from an epoch on, until the next stage, instead of the settings themselves; None: what they say.

    Attributes:
        from_epoch: the first epoch that it counts in, the first of all being 0.
        learning_rate: a constant one; it may rise again: a warm restart.
        lambda_reconstruct, lambda_pixel: the weights of these terms.
        trains: what learns. ``low_res``: m, r and l, while h rests: it gives nothing back to them, so their epochs may
            be had without its cost. ``high_res``: h, while m, r and l rest, in the state in which they animate.
            ``refine``: r, while m rests and l and h are not run at all: an epoch costs a small part of the others.
        norm: what batch norm normalises by: ``batch``, each batch's own mean and variance; or ``running``, those that
            are remembered, and stay as they are, as when the networks animate. Towards the end that takes away the
            noise of small batches, which colours drown in.
        masks: which masks of the driver l and h are given: ``true``, m's, as in the paper; or ``restored``, r's of what
            P_test leaves of them, as they are given when the networks animate. m rests then: it would learn from
            sources only. This needs ``norm: running``.
    """

    from_epoch: NonNegativeInt
    learning_rate: PositiveFloat | None = None
    lambda_reconstruct: NonNegativeFloat | None = None
    lambda_pixel: NonNegativeFloat | None = None
    trains: Literal["all", "low_res", "high_res", "refine"] = "all"
    norm: Literal["batch", "running"] = "batch"
    masks: Literal["true", "restored"] = "true"

    @model_validator(mode="after")
    def _restored_by_what_r_remembers(self) -> TrainingStage:
        if self.masks == "restored" and self.norm == "batch":
            raise ValueError("masks: restored needs norm: running")
        return self


class During(NamedTuple):
    """What counts in one epoch."""

    # learning_rate, lambda_reconstruct, lambda_pixel: as in TrainSettings
    learning_rate: float
    lambda_reconstruct: float
    lambda_pixel: float
    low_res: bool  # whether m and l learn
    refine: bool  # whether r does
    high_res: bool  # whether h does
    batch_norm: bool  # whether batch norm takes its statistics from the batch
    restored: bool  # whether l and h are given the masks that r restored, while m rests


class TrainSettings(Record):
    """How a model is trained. The defaults are the paper's (section 3.1) unless said otherwise.

    Attributes:
        model: the networks' widths, the skips of m and r, and the perturbation; see ModelSpec.
        epochs, decay_epochs, decay: the learning rate is multiplied by `decay` when each of `decay_epochs` is complete.
        stages: changes on the way, in the order of their epochs; see TrainingStage.
        steps_per_epoch: steps of one epoch; synthetic data is endless, so this is what an epoch is there.
        batch: source-driving pairs per step, of all processes together.
        learning_rate, betas: Adam.
        lambda_mask, lambda_reconstruct: weights of the two loss terms.
        lambda_mask_entropy: weight of the cross-entropy of r's mask beside L_mask's L1; not in the paper (0). The best
            mask by L1 is the median of those that may be meant, in which small eyes and mouths are lost.
        lambda_pixel: weight of a multi-resolution L1 beside the perceptual loss; not in the paper (0).
        detail_weight: how much more that L1 and the cross-entropy of masks count at eyes, brows and mouths, which
            figure maps show; on frames of real clips, which have none, it does nothing. Not in the paper (0). They are
            small, and without it the last to become sharp.
        perceptual: the perceptual network. The paper's is ``vgg19``; ``none`` only goes with `lambda_pixel`.
        layer_weights: of the compared layers of the perceptual network, from the first on; `lambda_reconstruct` times
            these. VGG-19 has up to five: ReLUs 1, 3, 5, 9 and 13.
        resolutions: of the reconstruction loss, in pixels.
        blur: how smaller resolutions are made: ``box`` averages blocks of pixels; ``gaussian``, the released code's
            way, blurs and takes every second, fourth or eighth pixel.
        colour_scale, colour_hue: ranges of the colour augmentation A.
        colour_target: the source and the frame to be reconstructed change their colours as well, both alike, and
            otherwise than the driver; the released code does so, the paper does not say it.
        animation_pass: each step also runs r and l, without learning, on masks as they are given when the released code
            animates: of a driver of another pair, see `Perturbation.released_animate`. So their batch norm remembers
            such masks, too. The released code does so to draw pictures of its progress; not in the paper.
            It did not help where it was measured: one small model (widths 8, 8, 32, 8) of drawn puppets after 1,200
            steps, whose batch norm then saw 25 batches with and without it. The weights are the same to the bit, by
            construction; on 24 held-out pairs of identities the L1 of the final frame changed by +0.2 % (standard error
            0.2) as the paper animates and as the released code does, that of the coarse frame by +0.9 and +0.8 % (0.7).
        strips, zoom: of P_train.
        noise: mean size of Poisson noise after P_train, 1 being white; not in the paper (0).
        refine_from_epoch: r starts when this many epochs are complete.
        high_res_from_epoch: h starts when this many epochs are complete; the paper's is 0. h gives nothing back to the
            other networks, so starting it late changes only h, and makes the epochs before it cheaper.
        mask_head_rate: factor on the learning rate of the heads of m and r; the paper's is 1.
        precision: ``bf16`` runs the networks under autocast.
        sync_batch_norm: batch norm takes its statistics from the joint batch of all processes rather than from each
            one's part, for which running statistics are the first process's; one process has no use for it.
        cheaper: rewrite the convolutions of l and h exactly, see `networks.reparametrize`; None: on a CPU, where a step
            of the preset `demo` was measured to take 15 % less time. Only rounding differs.
        int8: the networks learn to bear INT8: what export rounds to it is rounded in each step; see `train.int8`. For
            fine-tuning; it makes the networks `cheaper`, too.
        identities: how many synthetic identities training draws from.
        seed: of weights, data and augmentation.
        warmup: see Warmup.
        average: of each step, how much of the averaged weights stays, as 0.999: checkpoints carry the average of the
            weights beside the last ones, and export takes it. Not in the paper (0: no average).
        adversarial: see Adversarial.
        data: see DataSettings.
        ablations: see Ablations.
        watch: see MaskWatch.
    """

    model: ModelSpec = ModelSpec()
    epochs: int = Field(default=100, ge=1)
    decay_epochs: tuple[int, ...] = (60, 90)
    decay: float = Field(default=0.1, gt=0, le=1)
    stages: tuple[TrainingStage, ...] = ()
    steps_per_epoch: int = Field(default=1000, ge=1)
    batch: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=2e-4, gt=0)
    betas: tuple[Beta, Beta] = (0.5, 0.9)
    lambda_mask: float = Field(default=100.0, ge=0)
    lambda_mask_entropy: float = Field(default=0.0, ge=0)
    lambda_reconstruct: float = Field(default=10.0, ge=0)
    lambda_pixel: float = Field(default=0.0, ge=0)
    detail_weight: float = Field(default=0.0, ge=0)
    perceptual: Literal["vgg19", "efficientnet-lite0", "none"] = "vgg19"
    layer_weights: tuple[PositiveFloat, ...] = (1.0, 1.0, 1.0)
    resolutions: tuple[Literal[256, 128, 64, 32], ...] = Field(default=(256, 128, 64), min_length=1)
    blur: Literal["box", "gaussian"] = "box"
    colour_scale: float = Field(default=0.1, ge=0, lt=1)
    colour_hue: float = Field(default=0.1, ge=0, le=0.5)
    colour_target: bool = False
    animation_pass: bool = False
    strips: int = Field(default=6, ge=1, le=32)
    zoom: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.25)
    noise: float = Field(default=0.0, ge=0, le=1)
    refine_from_epoch: int = Field(default=1, ge=0)
    high_res_from_epoch: int = Field(default=0, ge=0)
    mask_head_rate: float = Field(default=1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    sync_batch_norm: bool = True
    cheaper: bool | None = None
    int8: bool = False
    identities: int = Field(default=4000, ge=1)
    average: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    warmup: Warmup = Warmup()
    adversarial: Adversarial = Adversarial()
    data: DataSettings = DataSettings()
    ablations: Ablations = Ablations()
    watch: MaskWatch = MaskWatch()

    @model_validator(mode="after")
    def _all_fits_together(self) -> TrainSettings:
        least, most = (1, 5) if self.perceptual == "vgg19" else (3, 3)
        if not least <= len(self.layer_weights) <= most:
            raise ValueError(f"{self.perceptual} has {least if least == most else '1 to 5'} layer_weights")
        epochs = [stage.from_epoch for stage in self.stages]
        if epochs != sorted(set(epochs)):
            raise ValueError("the epochs of stages must rise")
        for epoch in (0, *epochs):
            now = self.during(epoch)
            if not (now.low_res or now.refine or now.high_res):
                raise ValueError(f"nothing learns in epoch {epoch}: what its stage trains has not started yet")
            if not now.lambda_pixel and (self.perceptual == "none" or not now.lambda_reconstruct):
                raise ValueError(f"nothing to learn from in epoch {epoch}: set lambda_pixel or a perceptual network")
        return self

    def during(self, epoch: int) -> During:
        """What counts while `epoch` is under way, the first being 0."""
        stage = ([TrainingStage(from_epoch=0)] + [stage for stage in self.stages if stage.from_epoch <= epoch])[-1]
        decayed = self.learning_rate * self.decay ** sum(epoch >= at for at in self.decay_epochs)
        low_res = stage.trains in ("all", "low_res")
        return During(
            decayed if stage.learning_rate is None else stage.learning_rate,
            self.lambda_reconstruct if stage.lambda_reconstruct is None else stage.lambda_reconstruct,
            self.lambda_pixel if stage.lambda_pixel is None else stage.lambda_pixel,
            low_res,
            stage.trains != "high_res" and epoch >= self.refine_from_epoch,
            stage.trains in ("all", "high_res") and epoch >= self.high_res_from_epoch,
            stage.norm == "batch",
            stage.masks == "restored",
        )

    def changed_from(self, other: TrainSettings, step: int) -> list[str]:
        """The names of the settings by which a run that has come to `step` would have been another one until there.

        How long it is to go on, what counts from the next epoch on, when to give up, and what is only another way to
        the same numbers may change.
        """
        epochs = -(-max(0, step - self.warmup.steps) // self.steps_per_epoch)
        staged = {"learning_rate", "lambda_reconstruct", "lambda_pixel", "refine_from_epoch", "high_res_from_epoch"}
        free = {"epochs", "stages", "decay_epochs", "decay", "watch", "cheaper"}
        if not any(each.adversarial.weight and epochs > each.adversarial.from_epoch for each in (self, other)):
            free.add("adversarial")  # the discriminator has not begun
        names = [name for name in TrainSettings.model_fields if name not in free | staged]
        changed = [name for name in names if getattr(self, name) != getattr(other, name)]
        done = [(self.during(epoch), other.during(epoch)) for epoch in range(epochs)]
        staged_names = [name for i, name in enumerate(During._fields) if any(a[i] != b[i] for a, b in done)]
        changed += [f"{name} of the epochs that are done" for name in staged_names]
        return changed

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
        changes: fields that replace those of the file; within a mapping, field by field.

    Raises:
        MaskanimError: no such preset or file, not YAML, an unknown setting or a bad value.
    """
    subject = f"--config {name_or_file}"
    with needs_extra("reading settings", "train"):
        import yaml
    try:
        values = yaml.safe_load(_config_text(name_or_file))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that is none
        raise MaskanimError(subject, "not readable as YAML: " + " ".join(str(error).split()), "settings") from None
    if not isinstance(values, dict):
        raise MaskanimError(subject, f"a YAML {type(values).__name__}", "a mapping of settings")
    try:
        return TrainSettings.model_validate(_merged(values, changes))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise MaskanimError(f"{subject}, {where}", repr(first["input"])[:60], first["msg"]) from None


def parse_changes(assignments: list[str]) -> dict[str, Any]:
    """Settings as they are given on the command line, e.g. ``batch=2`` or ``warmup.steps=0``, as nested mappings.

    Raises:
        MaskanimError: one of them is not of that form, or its value not YAML.
    """
    with needs_extra("reading settings", "train"):
        import yaml
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            equals = ""
        if not name or not equals:
            raise MaskanimError(f"--set {assignment}", "not a setting and its value", "e.g. batch=2 or warmup.steps=0")
        for part in reversed(name.split(".")):
            value = {part: value}
        changes = _merged(changes, value)
    return changes


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {name: (values[name], change) for name, change in changes.items() if name in values}
    inner = {name: _merged(a, b) for name, (a, b) in both.items() if isinstance(a, dict) and isinstance(b, dict)}
    return values | changes | inner


def _config_text(name_or_file: str) -> str:
    if name_or_file in presets():
        return files("maskanim.train").joinpath("presets").joinpath(f"{name_or_file}.yaml").read_text("utf-8")
    path = Path(name_or_file)
    if not path.is_file():
        raise MaskanimError(
            f"--config {name_or_file}", "neither a preset nor a file", f"a YAML file or one of {', '.join(presets())}"
        )
    return path.read_text("utf-8")
