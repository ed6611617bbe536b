"""Checkpoint to bundle, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import onnx
import onnxruntime
import torch
from torch import nn

from maskanim import __version__
from maskanim.bundle import (
    Bundle,
    HalfParity,
    Manifest,
    Parity,
    Rounding,
    check_bundle_place,
    network_file,
    write_bundle,
)
from maskanim.errors import MaskanimError
from maskanim.export.checkpoints import Trained, load_trained
from maskanim.export.emulation import HALF_PAIRS, measure_half, require_half_parity
from maskanim.export.frames import read_pairs
from maskanim.export.half import round_weights, store_as_half
from maskanim.export.lowering import lower
from maskanim.export.onnx_export import OPSET, to_onnx
from maskanim.export.parity import (
    ArrayNets,
    Difference,
    ModuleNets,
    Pair,
    compare,
    in_bf16,
    onnx_function,
    require_parity,
    torch_function,
)
from maskanim.spec import BF16_NETWORKS, NETWORK_NAMES, NETWORKS, REDUCED_FRAME_PSNR, NetworkName

Weights = Literal["float32", "float16"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
Report = Callable[[str], None]

ROUNDED_FRAME_PSNR = 40.0  # dB; below this, rounded weights can be seen. Rounding to eleven bits leaves about 70.


class Half(NamedTuple):
    """What FP16 does to a model: figures, unless a number overflowed, and why it is refused, or nothing."""

    parity: HalfParity | None
    refusal: str


class Exported(NamedTuple):
    """One network on its way into the bundle.

    Attributes:
        reference: the PyTorch network that `content` must equal.
        content: the ONNX file.
        lowering: names of the rewrites in it.
    """

    reference: nn.Module
    content: bytes
    lowering: tuple[str, ...]


def export_bundle(
    ckpt: Path,
    out: Path | None = None,
    *,
    name: str | None = None,
    weights: Weights = "float32",
    frames: Sequence[Path] = (),
    threshold: int | None = None,
    report: Report = lambda message: None,
) -> Bundle:
    """Export a checkpoint's networks to a bundle, verified against PyTorch; on any failure nothing is written.

    Args:
        ckpt: a checkpoint of maskanim-train, or of the authors' released code.
        out: the bundle's folder; an older bundle there is replaced. None: `default_out`.
        name: the model's name. None: that of the checkpoint's folder.
        weights: how large weights are stored; ``float16`` halves the files and rounds.
        frames: pictures, folders or videos to verify on. Empty: the embedded demo's.
        threshold: see `load_trained`.
        report: called with a line of text as each step begins.

    Raises:
        MaskanimError: an unusable checkpoint, frame or place, or networks that differ from PyTorch's.
    """
    if weights not in WEIGHTS:
        raise MaskanimError("--weights", weights, " or ".join(WEIGHTS))
    out = out or default_out(ckpt)
    check_bundle_place(out)
    pairs = read_pairs(frames)
    report(f"reading {ckpt}")
    trained = load_trained(ckpt, threshold)
    for note in trained.notes:
        report(f"note: {note}")
    exported = {n: _export_network(trained, n, weights, report) for n in NETWORK_NAMES}
    found = _verified(trained, exported, pairs, report)
    rounding = _rounding(trained, exported, pairs, report) if weights == "float16" else None
    bf16_frame_psnr = _bf16(trained, exported, pairs, report)
    half = _half(trained, exported, pairs, report)
    manifest = Manifest(
        name=name or ckpt.resolve().parent.name,
        model=trained.nets.spec,
        weights=weights,
        opset=OPSET,
        networks={n: network_file(n, done.content, done.lowering) for n, done in exported.items()},
        parity=Parity(
            frames=f"{len(pairs)} pairs of {'given' if frames else 'the embedded demo'} frames",
            runtime=f"onnxruntime {onnxruntime.__version__}, CPU, float32",
            max_difference=found.networks,
            frame_psnr=found.frame_psnr,
            threshold_flips=found.flips,
            mask_pixels=found.mask_pixels,
            rounding=rounding,
            bf16_frame_psnr=bf16_frame_psnr,
            half=half.parity,
            half_refusal=half.refusal,
        ),
        provenance={**trained.provenance, "exported": _versions()},
    )
    return write_bundle(out, manifest, {n: done.content for n, done in exported.items()})


def default_out(ckpt: Path) -> Path:
    """``last.bundle`` beside ``last.pt``, ``00000099-checkpoint.bundle`` beside ``00000099-checkpoint.pth.tar``."""
    stem = ckpt.name.removesuffix(".tar")
    return ckpt.with_name(f"{Path(stem).stem}.bundle")


def _export_network(trained: Trained, name: NetworkName, weights: Weights, report: Report) -> Exported:
    original = getattr(trained.nets, name)
    network, lowering = lower(original, name)
    report(f"exporting {name}: {', '.join(lowering)}")
    if weights == "float32":
        return Exported(original, to_onnx(network, NETWORKS[name]).SerializeToString(), lowering)
    rounded = round_weights(network, name)
    return Exported(rounded, store_as_half(to_onnx(rounded, NETWORKS[name])).SerializeToString(), lowering)


def _verified(trained: Trained, exported: dict[NetworkName, Exported], pairs: list[Pair], report: Report) -> Difference:
    """The exported files against PyTorch with the same weights; raises where they differ."""
    report(f"comparing with PyTorch on {len(pairs)} pairs of frames")
    reference = ModuleNets(*(exported[n].reference for n in NETWORK_NAMES))
    candidate = ArrayNets({n: onnx_function(done.content, n) for n, done in exported.items()})
    found = compare(reference, candidate, trained.nets.spec.perturbation, pairs)
    require_parity(found)
    return found


def _rounding(trained: Trained, exported: dict[NetworkName, Exported], pairs: list[Pair], report: Report) -> Rounding:
    """The rounded weights against the trained ones, both in PyTorch."""
    report("measuring the effect of float16 weights")
    rounded = ArrayNets({n: torch_function(done.reference) for n, done in exported.items()})
    found = compare(trained.nets, rounded, trained.nets.spec.perturbation, pairs)
    if not found.frame_psnr >= ROUNDED_FRAME_PSNR:
        received = f"they change the final frame: {found.frame_psnr:.1f} dB"
        wanted = f"at least {ROUNDED_FRAME_PSNR:g} dB"
        raise MaskanimError("float16 weights", received, wanted, "Nothing was written; use --weights float32")
    return Rounding(max_difference=found.networks, frame_psnr=found.frame_psnr)


def _bf16(trained: Trained, exported: dict[NetworkName, Exported], pairs: list[Pair], report: Report) -> float:
    """The final frame's agreement, in dB, when a processor runs what it may in BF16; by PyTorch's autocast."""
    report("emulating BF16")
    networks = {n: torch_function(done.reference) for n, done in exported.items()}
    reduced = {n: in_bf16(network) if n in BF16_NETWORKS else network for n, network in networks.items()}
    found = compare(trained.nets, ArrayNets(reduced), trained.nets.spec.perturbation, pairs[:HALF_PAIRS])
    if not found.own_frame_psnr >= REDUCED_FRAME_PSNR:
        report(f"note: processors will run this model in FP32, as in BF16 it keeps {found.own_frame_psnr:.1f} dB only")
    return found.own_frame_psnr


def _half(trained: Trained, exported: dict[NetworkName, Exported], pairs: list[Pair], report: Report) -> Half:
    """FP16 against the trained networks; a model that does not survive it still makes a float32 bundle."""
    report("emulating FP16")
    parity = None
    try:
        contents = {n: done.content for n, done in exported.items()}
        parity = measure_half(trained.nets, contents, trained.nets.spec.perturbation, pairs)
        require_half_parity(parity)
    except MaskanimError as error:
        report(f"note: no FP16 engine can be built of this model. {error}")
        return Half(parity, f"{error.subject}: {error.received}")
    return Half(parity, "")


def _versions() -> dict[str, str]:
    return {"maskanim": __version__, "torch": str(torch.__version__), "onnx": onnx.__version__}
