"""The exported networks against PyTorch's on real frames: each network by itself, then the pipeline's final frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

from maskanim import pipeline
from maskanim.bundle import Difference
from maskanim.errors import MaskanimError
from maskanim.golden import HIGHEST_PSNR, psnr
from maskanim.networks import TorchOps
from maskanim.ops import Array, NumpyOps, kept, lower_median, shrink
from maskanim.runtime.sessions.ort import session_options
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName, Perturbation

# Some twenty float32 convolutions summed in another order move a sigmoid by 1e-6; 1e-4 is a fortieth of a grey level.
NETWORK_TOLERANCE = 1e-4
FRAME_PSNR = 60.0  # dB; the error of rounding a frame to 8 bits is 59 dB


class FramePair(NamedTuple):
    """A source and a driving frame, (1, 3, 256, 256) float32 in [0, 1] each."""

    source: Array
    driving: Array


class NetworkFunctions(NamedTuple):
    """Four modules, or functions of arrays, as `pipeline.Nets`."""

    m: Callable[..., Any]
    r: Callable[..., Any]
    l: Callable[..., Any]  # noqa: E741 - the paper's name
    h: Callable[..., Any]


class Call(NamedTuple):
    """One run of one network: what it was given, in the order of its signature, and what came out."""

    name: NetworkName
    inputs: tuple[Array, ...]
    output: Array


class Reference(NamedTuple):
    """What PyTorch makes of one pair of frames."""

    # pair, perturbation: what was run
    pair: FramePair
    perturbation: Perturbation
    calls: list[Call]  # every run of a network, m's for the source first
    animation: pipeline.Animation[Tensor]  # of the driving frame


@torch.no_grad()
def run_reference(nets: pipeline.Nets[Tensor], perturbation: Perturbation, pair: FramePair) -> Reference:
    """Run networks in eval mode, on the CPU, and remember all that they were given and gave."""
    calls: list[Call] = []

    def recorded(name: NetworkName) -> Callable[..., Tensor]:
        def run(*inputs: Tensor) -> Tensor:
            output: Tensor = getattr(nets, name)(*inputs)
            calls.append(Call(name, tuple(x.numpy() for x in inputs), output.numpy()))
            return output

        return run

    recording, ops = NetworkFunctions(*map(recorded, NETWORK_NAMES)), TorchOps(perturbation)
    source = pipeline.encode_source(recording, ops, torch.from_numpy(pair.source))
    animation = pipeline.animate_frame(recording, ops, source, torch.from_numpy(pair.driving))
    return Reference(pair, perturbation, calls, animation)


def compare(
    references: Iterable[Reference],
    candidate: pipeline.Nets[Array],
    images: DTypeLike = np.float32,
    alone: int | None = None,
) -> Difference:
    """The worst difference of a candidate from what PyTorch made of some pairs of frames.

    Args:
        references: at least one.
        candidate: the same networks in another form.
        images: the type to which the candidate's pictures are rounded before anything else.
        alone: on how many of the references, the first ones, r, l and h are also run by themselves on what PyTorch's
            were given, which is half of the work; None: on all. m, which costs little, always is.
    """
    found = [
        _compare_one(reference, candidate, images, alone is None or number < alone)
        for number, reference in enumerate(references)
    ]
    # NumPy's maximum and minimum keep a NaN, which Python's may lose.
    return Difference(
        max_difference={n: float(np.max([one.max_difference[n] for one in found])) for n in NETWORK_NAMES},
        frame_psnr=float(np.min([one.frame_psnr for one in found])),
        network_psnr={n: float(np.min([one.network_psnr[n] for one in found])) for n in NETWORK_NAMES},
        own_frame_psnr=float(np.min([one.own_frame_psnr for one in found])),
        threshold_flips=sum(one.threshold_flips for one in found),
        mask_pixels=sum(one.mask_pixels for one in found),
        flip_distance=float(np.max([one.flip_distance for one in found])),
    )


def _compare_one(reference: Reference, candidate: pipeline.Nets[Array], images: DTypeLike, alone: bool) -> Difference:
    largest: dict[NetworkName, float] = dict.fromkeys(NETWORK_NAMES, 0.0)
    agreement: dict[NetworkName, float] = dict.fromkeys(NETWORK_NAMES, HIGHEST_PSNR)
    calls = [call for call in reference.calls if alone or call.name == "m"]
    for name, inputs, output in calls:
        found = getattr(candidate, name)(*inputs)
        largest[name] = float(np.maximum(largest[name], np.abs(found - output).max()))
        agreement[name] = float(np.minimum(agreement[name], psnr(found, output)))
    expected, pinned = reference.animation.frame.numpy(), _PinnedOps(reference)
    pair = FramePair(*(image.astype(images).astype(np.float32) for image in reference.pair))
    frame_psnr = own_frame_psnr = psnr(_frame(candidate, pinned, pair), expected)
    if pinned.flips:
        own_frame_psnr = psnr(_frame(candidate, NumpyOps(reference.perturbation), pair), expected)
    return Difference(
        max_difference=largest,
        frame_psnr=frame_psnr,
        network_psnr=agreement,
        own_frame_psnr=own_frame_psnr,
        threshold_flips=pinned.flips,
        mask_pixels=pinned.keep.size,
        flip_distance=pinned.flip_distance,
    )


def _frame(nets: pipeline.Nets[Array], ops: NumpyOps, pair: FramePair) -> Array:
    return pipeline.animate_frame(nets, ops, pipeline.encode_source(nets, ops, pair.source), pair.driving).frame


class _PinnedOps(NumpyOps):
    """NumpyOps whose perturbation decides as a reference did, and counts where it would have decided otherwise."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference.perturbation)
        self.mask = reference.animation.mask.numpy()
        self.keep = kept(self.mask, reference.perturbation)
        self.flips, self.flip_distance = 0, 0.0

    def perturb(self, mask: Array) -> Array:
        flipped = (kept(mask, self.perturbation) & (mask > 0)) != (self.keep & (self.mask > 0))
        fixed = self.perturbation.threshold
        threshold = lower_median(self.mask) if fixed is None else np.float32(fixed)
        distances = np.abs(self.mask - threshold)[flipped]
        self.flips += int(np.count_nonzero(flipped))
        self.flip_distance = max(self.flip_distance, float(distances.max(initial=0)))
        left = np.where(self.keep, mask, np.float32(0))
        return shrink(left) if self.perturbation.released_animate else left


def require_parity(difference: Difference) -> None:
    """Raise a MaskanimError that names the networks, or the final frame, where the difference is beyond tolerance."""
    # Written so that NaN fails.
    far = {name: value for name, value in difference.max_difference.items() if not value <= NETWORK_TOLERANCE}
    if far:
        told = ", ".join(f"network {name} differs from PyTorch by {value:.2g}" for name, value in far.items())
        raise MaskanimError("parity", told, f"at most {NETWORK_TOLERANCE:g}", "Nothing was written")
    if not difference.frame_psnr >= FRAME_PSNR:
        told = f"the final frame agrees with PyTorch's to {difference.frame_psnr:.1f} dB"
        raise MaskanimError("parity", told, f"at least {FRAME_PSNR:g} dB", "Nothing was written")


def onnx_function(content: bytes, name: NetworkName) -> Callable[..., Array]:
    """A network's ONNX file as a function of arrays, in the order of its signature, by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
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
