"""Checkpoint to bundle, in one call."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

import onnx
import onnxruntime
import torch
from torch import nn

from maskanim import __version__, pipeline
from maskanim.bundle import (
    Agreement,
    Bundle,
    HalfParity,
    Manifest,
    Parity,
    bundle_file,
    check_bundle_place,
    network_file,
    write_bundle,
)
from maskanim.errors import MaskanimError
from maskanim.export.bf16 import bf16_function
from maskanim.export.checkpoints import Trained, load_trained
from maskanim.export.emulation import measure_half, require_half_parity
from maskanim.export.frames import read_pairs, spread
from maskanim.export.half import round_weights, store_as_half
from maskanim.export.lowering import lower
from maskanim.export.onnx_export import OPSET, to_onnx
from maskanim.export.parity import (
    FramePair,
    NetworkFunctions,
    Reference,
    compare,
    onnx_function,
    require_parity,
    run_reference,
    torch_function,
)
from maskanim.golden import Animated, golden, pack
from maskanim.ops import postprocess
from maskanim.progress import NO_PROGRESS, Progress
from maskanim.spec import BF16_NETWORKS, NETWORK_NAMES, NETWORKS, REDUCED_FRAME_PSNR, NetworkName

logger = logging.getLogger(__name__)

Weights = Literal["float32", "float16"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
T = TypeVar("T")

GOLDEN = 2  # pairs
ROUNDED_FRAME_PSNR = 40.0  # dB; below this, rounded weights can be seen. Rounding to eleven bits leaves about 70.
REDUCED_PAIRS = 4  # on which BF16 and FP16 are measured, and each network by itself; a fault shows on any
# What a step takes, in seconds of the full networks on two AVX2 cores; the shares are alike elsewhere.
EXPORT, REFERENCE, ONNX, ROUNDED, BF16, HALF = 3.0, 3.0, 2.5, 4.0, 3.5, 6.0


class Exported(NamedTuple):
    """One network on its way into the bundle."""

    reference: nn.Module  # the PyTorch network that `content` must equal
    content: bytes  # the ONNX file
    lowering: tuple[str, ...]  # names of the rewrites in it


def export_bundle(
    ckpt: Path,
    out: Path | None = None,
    *,
    name: str | None = None,
    weights: Weights = "float32",
    frames: Sequence[Path] = (),
    threshold: int | None = None,
    released_animate: bool = False,
    progress: Progress = NO_PROGRESS,
) -> Bundle:
    """Export a checkpoint's networks to a bundle, verified against PyTorch; on any failure nothing is written.

    Args:
        ckpt: a checkpoint of maskanim-train, or of the authors' released code.
        out: the bundle's folder; an older bundle there is replaced. None: `default_out`.
        name: the model's name. None: that of the checkpoint's folder.
        weights: how large weights are stored; ``float16`` halves the files and rounds.
        frames: pictures, folders or videos to verify on. Empty: the embedded demo's.
        threshold, released_animate: see `load_trained`.
        progress: counts in hundredths.

    Raises:
        MaskanimError: an unusable checkpoint, frame or place, or networks that differ from PyTorch's.
    """
    if weights not in WEIGHTS:
        raise MaskanimError("--weights", weights, " or ".join(WEIGHTS))
    out = out or default_out(ckpt)
    if ckpt.exists():  # else that is what is wrong, and not the place beside it
        check_bundle_place(out)
    pairs = read_pairs(frames)
    logger.info("reading %s", ckpt)
    trained = load_trained(ckpt, threshold, released_animate=released_animate)
    for note in trained.notes:
        logger.info("note: %s", note)
    work = _Work(progress, len(pairs), rounded=weights == "float16")
    exported = {n: _export_network(trained, n, weights) for n in work.each(NETWORK_NAMES, EXPORT, "exporting")}
    original, stored = _references(trained, exported, pairs, work)
    golden_file = _golden_pairs(stored)
    versions = {"maskanim": __version__, "torch": str(torch.__version__), "onnx": onnx.__version__}
    manifest = Manifest(
        name=(name or ckpt.resolve().parent.name).encode("utf-8", "replace").decode(),
        model=trained.nets.spec,
        weights=weights,
        opset=OPSET,
        networks={n: network_file(n, done.content, done.lowering) for n, done in exported.items()},
        parity=_parity(exported, original, stored, "given" if frames else "the embedded demo", work),
        golden=bundle_file("golden.png", golden_file),
        provenance={**trained.provenance, "exported": versions},
    )
    return write_bundle(out, manifest, {n: done.content for n, done in exported.items()}, golden_file)


def default_out(ckpt: Path) -> Path:
    """``last.bundle`` beside ``last.pt``, ``00000099-checkpoint.bundle`` beside ``00000099-checkpoint.pth.tar``."""
    stem = ckpt.name.removesuffix(".tar")
    return ckpt.with_name(f"{Path(stem).stem}.bundle")


class _Work:
    """What there is to do, counted as it is done."""

    def __init__(self, progress: Progress, pairs: int, *, rounded: bool) -> None:
        reduced = min(pairs, REDUCED_PAIRS)
        each_pair = REFERENCE + ONNX + (REFERENCE + ROUNDED if rounded else 0)
        self.progress, self.done = progress, 0.0
        self.total = len(NETWORK_NAMES) * EXPORT + pairs * each_pair + reduced * (BF16 + HALF)

    def each(self, items: Iterable[T], seconds: float, note: str) -> Iterator[T]:
        """Hand on the items, each of which takes so much work."""
        for item in items:
            self.progress.update(round(100 * self.done / self.total), 100, note)
            yield item
            self.done += seconds


def _export_network(trained: Trained, name: NetworkName, weights: Weights) -> Exported:
    original = getattr(trained.nets, name)
    network, lowering = lower(original, name)
    logger.info("exporting %s: %s", name, ", ".join(lowering))
    if weights == "float32":
        return Exported(original, to_onnx(network, NETWORKS[name]).SerializeToString(), lowering)
    rounded = round_weights(network, name)
    return Exported(rounded, store_as_half(to_onnx(rounded, NETWORKS[name])).SerializeToString(), lowering)


def _references(
    trained: Trained, exported: Mapping[NetworkName, Exported], pairs: Sequence[FramePair], work: _Work
) -> tuple[list[Reference], list[Reference]]:
    """PyTorch's networks, and those with the weights as they are stored; each is run once per pair."""
    logger.info("comparing with PyTorch on %d pairs of frames", len(pairs))
    perturbation, nets = trained.nets.spec.perturbation, trained.nets
    original = [run_reference(nets, perturbation, pair) for pair in work.each(pairs, REFERENCE, "PyTorch")]
    if all(done.reference is getattr(nets, n) for n, done in exported.items()):
        return original, original
    rounded = NetworkFunctions(*(exported[n].reference for n in NETWORK_NAMES))
    runs = work.each(pairs, REFERENCE, "PyTorch, rounded weights")
    return original, [run_reference(rounded, perturbation, pair) for pair in runs]


def _golden_pairs(references: Sequence[Reference]) -> bytes:
    """Some of the pairs on which an export is verified, and what PyTorch makes of them; see `maskanim.golden`."""
    pairs = []
    for reference in spread(references, GOLDEN):
        source, driving = map(postprocess, reference.pair)
        steps = pipeline.Animation(**{name: tensor.numpy() for name, tensor in vars(reference.animation).items()})
        pairs.append(golden(source, driving, Animated(reference.calls[0].output, steps)))
    return pack(pairs)


def _parity(
    exported: Mapping[NetworkName, Exported],
    original: Sequence[Reference],
    stored: Sequence[Reference],
    kind: str,
    work: _Work,
) -> Parity:
    """All that is measured of the exported networks; raises where they differ from PyTorch's with the same weights."""
    candidate = NetworkFunctions(*(onnx_function(exported[n].content, n) for n in NETWORK_NAMES))
    found = compare(work.each(stored, ONNX, "ONNX Runtime"), candidate, alone=REDUCED_PAIRS)
    require_parity(found)
    rounding = None
    if stored is not original:
        rounding = _rounding(exported, work.each(original, ROUNDED, "rounded weights"))
    bf16 = _bf16(exported, work.each(original[:REDUCED_PAIRS], BF16, "BF16"))
    half, refusal = _half(exported, work.each(spread(original, REDUCED_PAIRS), HALF, "FP16"))
    return Parity(
        max_difference=found.max_difference,
        frame_psnr=found.frame_psnr,
        frames=f"{len(original)} pairs of {kind} frames",
        runtime=f"onnxruntime {onnxruntime.__version__}, CPU, float32",
        threshold_flips=found.threshold_flips,
        mask_pixels=found.mask_pixels,
        rounding=rounding,
        bf16_frame_psnr=bf16,
        half=half,
        half_refusal=refusal,
    )


def _rounding(exported: Mapping[NetworkName, Exported], references: Iterable[Reference]) -> Agreement:
    """The rounded weights against the trained ones, both in PyTorch."""
    logger.info("measuring the effect of float16 weights")
    rounded = NetworkFunctions(*(torch_function(exported[n].reference) for n in NETWORK_NAMES))
    found = compare(references, rounded, alone=REDUCED_PAIRS)
    if not found.frame_psnr >= ROUNDED_FRAME_PSNR:
        received = f"they change the final frame: {found.frame_psnr:.1f} dB"
        wanted = f"at least {ROUNDED_FRAME_PSNR:g} dB"
        raise MaskanimError("float16 weights", received, wanted, "Nothing was written; use --weights float32")
    return Agreement(max_difference=found.max_difference, frame_psnr=found.frame_psnr)


def _bf16(exported: Mapping[NetworkName, Exported], references: Iterable[Reference]) -> float:
    """The final frame's agreement, in dB, when a processor runs what it may in BF16."""
    logger.info("emulating BF16")
    functions = {
        n: (bf16_function if n in BF16_NETWORKS else torch_function)(done.reference) for n, done in exported.items()
    }
    kept = compare(references, NetworkFunctions(**functions), alone=0).own_frame_psnr
    if not kept >= REDUCED_FRAME_PSNR:
        logger.info("note: processors will run this model in FP32, as in BF16 it keeps %.1f dB only", kept)
    return kept


def _half(exported: Mapping[NetworkName, Exported], references: Iterable[Reference]) -> tuple[HalfParity | None, str]:
    """What FP16 does to a model: figures, unless a number overflowed, and why it is refused, or nothing.

    A model that does not survive it still makes a float32 bundle.
    """
    logger.info("emulating FP16")
    parity = None
    try:
        parity = measure_half(references, {n: done.content for n, done in exported.items()})
        require_half_parity(parity)
    except MaskanimError as error:
        logger.info("note: no FP16 engine can be built of this model. %s", error)
        return parity, f"{error.subject}: {error.received}"
    return parity, ""
