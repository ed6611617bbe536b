"""The exported networks against PyTorch's on real frames: each network by itself, then the pipeline's final frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

from maskanim import pipeline
from maskanim.errors import MaskanimError
from maskanim.networks import TorchOps
from maskanim.ops import Array, NumpyOps, lower_median
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName, Perturbation

# Some twenty float32 convolutions summed in another order move a sigmoid by 1e-6; 1e-4 is a fortieth of a grey level.
NETWORK_TOLERANCE = 1e-4
FRAME_PSNR = 60.0  # dB; the error of rounding a frame to 8 bits is 59 dB
HIGHEST_PSNR = 150.0  # told where frames are equal to the bit


class Pair(NamedTuple):
    """A source and a driving frame, (1, 3, 256, 256) float32 in [0, 1] each."""

    source: Array
    driving: Array


class ModuleNets(NamedTuple):
    """Four PyTorch modules as `pipeline.Nets` over torch tensors."""

    m: nn.Module
    r: nn.Module
    l: nn.Module  # noqa: E741 - the paper's name
    h: nn.Module


class ArrayNets:
    """Four functions as `pipeline.Nets` over NumPy arrays."""

    def __init__(self, functions: Mapping[NetworkName, Callable[..., Array]]) -> None:
        self.m, self.r, self.l, self.h = (functions[name] for name in NETWORK_NAMES)


class Difference(NamedTuple):
    """How far a candidate is from its reference.

    Attributes:
        networks: per network, the largest absolute difference of any output value, on the reference's inputs.
        network_psnr: per network, the lowest agreement of its outputs there, in dB with peak 1.
        frame_psnr: the lowest of the final frames', in dB with peak 1, each side running the whole pipeline; at
            pixels whose perturbation flips, the candidate takes the reference's decision.
        own_frame_psnr: the same where the candidate takes its own decisions.
        flips: pixels of the driving masks that lie so near the threshold that one side keeps and the other zeroes them.
        mask_pixels: how many there are.
        flip_distance: the farthest that the reference's mask is from its threshold at a pixel that flips.
    """

    networks: dict[NetworkName, float]
    network_psnr: dict[NetworkName, float]
    frame_psnr: float
    own_frame_psnr: float
    flips: int
    mask_pixels: int
    flip_distance: float


def compare(
    reference: pipeline.Nets[Tensor],
    candidate: pipeline.Nets[Array],
    perturbation: Perturbation,
    pairs: Iterable[Pair],
    images: DTypeLike = np.float32,
) -> Difference:
    """Measure a candidate against PyTorch on pairs of frames.

    Args:
        reference: in eval mode, on the CPU.
        candidate: the same networks in another form.
        perturbation: of the model.
        pairs: one at a time goes through both.
        images: the type to which the candidate's pictures are rounded before anything else.
    """
    return _worst(_compare_pair(reference, candidate, perturbation, pair, images) for pair in pairs)


def _worst(differences: Iterable[Difference]) -> Difference:
    """The worst of several pairs, and their pixels together."""
    networks, network_psnr, frame_psnr, own_frame_psnr, flips, pixels, distance = zip(*differences, strict=True)
    return Difference(
        {name: float(np.max([one[name] for one in networks])) for name in NETWORK_NAMES},
        {name: float(np.min([one[name] for one in network_psnr])) for name in NETWORK_NAMES},
        float(np.min(frame_psnr)),
        float(np.min(own_frame_psnr)),
        sum(flips),
        sum(pixels),
        float(np.max(distance)),
    )


def _compare_pair(
    reference: pipeline.Nets[Tensor],
    candidate: pipeline.Nets[Array],
    perturbation: Perturbation,
    pair: Pair,
    images: DTypeLike,
) -> Difference:
    recording = _Recording(reference)
    expected = _reference_run(recording, perturbation, pair)
    worst: dict[NetworkName, float] = dict.fromkeys(NETWORK_NAMES, 0.0)
    agreement: dict[NetworkName, float] = dict.fromkeys(NETWORK_NAMES, HIGHEST_PSNR)
    for name, inputs, output in recording.calls:
        found = getattr(candidate, name)(*inputs)
        worst[name] = float(np.maximum(worst[name], np.abs(found - output).max()))  # NaN, once met, stays
        agreement[name] = float(np.minimum(agreement[name], psnr(found, output)))
    pinned, rounded = _PinnedOps(perturbation, expected), Pair(*(_rounded(image, images) for image in pair))
    frame_psnr = own_frame_psnr = psnr(_frame(candidate, pinned, rounded), expected.frame.numpy())
    if pinned.flips:
        own_frame_psnr = psnr(_frame(candidate, NumpyOps(perturbation), rounded), expected.frame.numpy())
    counts = pinned.flips, pinned.keep.size, pinned.flip_distance
    return Difference(worst, agreement, frame_psnr, own_frame_psnr, *counts)


def _rounded(image: Array, images: DTypeLike) -> Array:
    return image.astype(images).astype(np.float32)


def _frame(nets: pipeline.Nets[Array], ops: NumpyOps, pair: Pair) -> Array:
    return pipeline.animate_frame(nets, ops, pipeline.encode_source(nets, ops, pair.source), pair.driving).frame


def require_parity(difference: Difference) -> None:
    """Raise a MaskanimError that names the networks, or the final frame, where the difference is beyond tolerance."""
    # Written so that NaN fails.
    far = {name: value for name, value in difference.networks.items() if not value <= NETWORK_TOLERANCE}
    if far:
        told = ", ".join(f"network {name} differs from PyTorch by {value:.2g}" for name, value in far.items())
        raise MaskanimError("parity", told, f"at most {NETWORK_TOLERANCE:g}", "Nothing was written")
    if not difference.frame_psnr >= FRAME_PSNR:
        told = f"the final frame agrees with PyTorch's to {difference.frame_psnr:.1f} dB"
        raise MaskanimError("parity", told, f"at least {FRAME_PSNR:g} dB", "Nothing was written")


def onnx_function(content: bytes, name: NetworkName) -> Callable[..., Array]:
    """A network's ONNX file as a function of arrays, in the order of its signature, by ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    # PyTorch and ONNX Runtime take turns here, and idle threads that spin would slow down whichever is at work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in NETWORKS[name].inputs]

    def run(*inputs: Array) -> Array:
        return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0], np.float32)

    return run


def torch_function(network: nn.Module) -> Callable[..., Array]:
    """A PyTorch network as a function of arrays."""

    def run(*inputs: Array) -> Array:
        with torch.no_grad():
            return np.asarray(network(*map(torch.from_numpy, inputs)).numpy(), np.float32)

    return run


def in_bf16(function: Callable[..., Array]) -> Callable[..., Array]:
    """A function of `torch_function` under PyTorch's autocast to BF16."""

    def run(*inputs: Array) -> Array:
        with torch.autocast("cpu", torch.bfloat16):
            return function(*inputs)

    return run


def psnr(a: Array, b: Array) -> float:
    """Peak signal-to-noise ratio in dB, peak 1; at most 150, NaN if either holds one."""
    error = float(np.mean(np.square(a.astype(np.float64) - b)))
    return -10 * math.log10(max(error, 10 ** (-HIGHEST_PSNR / 10))) if error == error else math.nan


class _Recording:
    """Networks over torch tensors that remember the inputs and the output of every call, as arrays."""

    def __init__(self, nets: pipeline.Nets[Tensor]) -> None:
        self.nets = nets
        self.calls: list[tuple[NetworkName, tuple[Array, ...], Array]] = []
        self.m, self.r, self.l, self.h = (partial(self._call, name) for name in NETWORK_NAMES)

    def _call(self, name: NetworkName, *inputs: Tensor) -> Tensor:
        output: Tensor = getattr(self.nets, name)(*inputs)
        self.calls.append((name, tuple(x.numpy() for x in inputs), output.numpy()))
        return output


class _PinnedOps(NumpyOps):
    """NumpyOps whose perturbation decides as a reference did, and counts where it would have decided otherwise."""

    def __init__(self, perturbation: Perturbation, expected: pipeline.Animation[Tensor]) -> None:
        super().__init__(perturbation)
        self.mask, self.keep = expected.mask.numpy(), expected.perturbed.numpy() > 0
        self.flips, self.flip_distance = 0, 0.0

    def perturb(self, mask: Array) -> Array:
        flipped = (super().perturb(mask) > 0) != self.keep
        fixed = self.perturbation.threshold
        threshold = lower_median(self.mask) if fixed is None else np.float32(fixed)
        distances = np.abs(self.mask - threshold)[flipped]
        self.flips += int(np.count_nonzero(flipped))
        self.flip_distance = max(self.flip_distance, float(distances.max(initial=0)))
        return np.where(self.keep, mask, np.float32(0))


@torch.no_grad()
def _reference_run(nets: pipeline.Nets[Tensor], perturbation: Perturbation, pair: Pair) -> pipeline.Animation[Tensor]:
    ops = TorchOps(perturbation)
    encoded = pipeline.encode_source(nets, ops, torch.from_numpy(pair.source))
    return pipeline.animate_frame(nets, ops, encoded, torch.from_numpy(pair.driving))
