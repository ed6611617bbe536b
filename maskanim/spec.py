"""What a model is: the sizes, widths, perturbation and tensor names that training, export and runtime agree on."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

IMAGE_SIZE = 256  # s, d, c and f are RGB, 256x256 (section 3)
MASK_SIZE = 64  # every mask, and D(s)
MAX_WIDTH = 1024  # channel widths double per level and stop here
LEVELS = 5  # of every hourglass

NetworkName = Literal["m", "r", "l", "h"]
NETWORK_NAMES: tuple[NetworkName, ...] = ("m", "r", "l", "h")


# What a processor may run in BF16. m stays in FP32: the ties among BF16 values move its masks' medians (of 98,000
# pixels of full-size random masks, 15,000 flipped). r takes 11 ms less of a full-size frame in BF16, and changed the
# demo's final frame by no more than l and h do.
BF16_NETWORKS: tuple[NetworkName, ...] = ("r", "l", "h")
REDUCED_FRAME_PSNR = 45.0  # dB against FP32 that a final frame keeps in BF16 or FP16: one and a half grey levels


class Record(BaseModel):
    """A frozen record; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(Record):
    """One input or output of a network: float32 in [0, 1], NCHW, where N is the batch and is free."""

    name: str  # the tensor's name in the ONNX graph
    channels: int  # C
    size: int  # H and W, in pixels

    def shape(self, batch: int) -> tuple[int, int, int, int]:
        """The tensor's shape (N, C, H, W) for a batch of N."""
        return batch, self.channels, self.size, self.size


class NetworkSpec(Record):
    """The signature of one of the four networks: the paper's arguments, in the paper's order."""

    name: NetworkName
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec


def _image(name: str) -> TensorSpec:
    return TensorSpec(name=name, channels=3, size=IMAGE_SIZE)


def _small(name: str) -> TensorSpec:
    return TensorSpec(name=name, channels=3, size=MASK_SIZE)


def _mask(name: str, size: int = MASK_SIZE) -> TensorSpec:
    return TensorSpec(name=name, channels=1, size=size)


# Equations (1), (2), (4), (5) and (6).
NETWORKS: dict[NetworkName, NetworkSpec] = {
    "m": NetworkSpec(name="m", inputs=(_image("image"),), output=_mask("mask")),
    "r": NetworkSpec(
        name="r",
        inputs=(_small("source_small"), _mask("source_mask"), _mask("perturbed_mask")),
        output=_mask("refined_mask"),
    ),
    "l": NetworkSpec(
        name="l",
        inputs=(_small("source_small"), _mask("source_mask"), _mask("refined_mask")),
        output=_image("coarse"),
    ),
    "h": NetworkSpec(
        name="h",
        inputs=(
            _image("source"),
            _mask("source_mask_up", IMAGE_SIZE),
            _mask("refined_mask_up", IMAGE_SIZE),
            _image("coarse"),
        ),
        output=_image("frame"),
    ),
}


class Perturbation(Record):
    """P_test: which pixels of the driving mask are set to zero (section 3, equation (3))."""

    # ``median`` zeroes pixels smaller than the mask's lower median (the paper); ``fixed`` zeroes pixels smaller than or
    # equal to ``threshold`` (the authors' released code)
    kind: Literal["median", "fixed"] = "median"
    # in [0, 1]; only with ``fixed``. The released code's values are 100/255 for VoxCeleb and 60/255 for Tai-Chi-HD and
    # BAIR.
    threshold: float | None = Field(default=None, ge=0, le=1)
    # then the mask is floored to 8 bits and shrunk to three quarters about its centre, as in the released code's
    # animation; the paper does not say it, and the authors' published samples do not show it
    released_animate: bool = False

    @model_serializer(mode="wrap")
    def _released_animate_only_where_it_is(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Files without it can be read by versions that do not know it."""
        values: dict[str, Any] = fields(self)
        return {name: value for name, value in values.items() if name != "released_animate" or value}

    @model_validator(mode="after")
    def _threshold_goes_with_fixed(self) -> Perturbation:
        if (self.kind == "fixed") != (self.threshold is not None):
            raise ValueError("a threshold goes with the kind 'fixed', and only with it")
        return self


class Widths(Record):
    """Base channel widths of the four networks; each level down doubles them, up to MAX_WIDTH."""

    # m, r, h: channels of the hourglass's last decoder level
    m: int = Field(ge=4)
    r: int = Field(ge=4)
    # channels of the residual body
    l: int = Field(ge=4, multiple_of=4)  # noqa: E741 - the paper's name
    h: int = Field(ge=4)


FULL = Widths(m=32, r=64, l=256, h=64)
# For CPUs and the embedded demo: l and h at a quarter, m and r as wide as 25 MB of float16 weights allow.
LITE = Widths(m=16, r=16, l=64, h=16)
WIDTHS: dict[str, Widths] = {"full": FULL, "lite": LITE}


ADDITIONS = ("mask_skips", "refinement_blocks")  # what the paper's networks do not have


class ModelSpec(Record):
    """Everything needed to build the networks and run them as they were trained."""

    widths: Widths = FULL
    # At so many levels, from the finest, the decoders of m and r see what their encoders saw, as h's does at all. The
    # paper's and the released code's see only 2x2 pixels, and their masks stay blurred.
    mask_skips: int = Field(default=0, ge=0, le=LEVELS)
    # So many residual blocks stand in r's decoder at 32x32, and half as many at 16x16. The paper's r has none: it is
    # too small to draw one person's face in another's pose.
    refinement_blocks: int = Field(default=0, ge=0)
    perturbation: Perturbation = Perturbation()

    @model_serializer(mode="wrap")
    def _additions_only_where_they_are(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Files without them can be read by versions that do not know them."""
        values: dict[str, Any] = fields(self)
        return {name: value for name, value in values.items() if name not in ADDITIONS or value}

    @property
    def size_name(self) -> str:
        """``full``, ``lite``, or ``custom`` for any other widths."""
        return next((name for name, widths in WIDTHS.items() if widths == self.widths), "custom")
