"""Trained networks from a checkpoint: of maskanim-train, or of the authors' released code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from maskanim.checkpoint import FORMAT, VERSION, Checkpoint, load_own, read_file
from maskanim.errors import MaskanimError
from maskanim.networks import Networks
from maskanim.spec import ModelSpec, Perturbation, Widths

NAMES_SHOWN = 20

# Where the released code keeps each of our modules; its first component is the checkpoint's own key.
RELEASED_MODULES = (
    (r"m\.shrink\.", "mask_generator.down."),
    (r"m\.hourglass\.down_blocks\.", "mask_generator.predictor.encoder.down_blocks."),
    (r"m\.hourglass\.up_blocks\.", "mask_generator.predictor.decoder.up_blocks."),
    (r"m\.head\.", "mask_generator.ref."),
    (r"r\.hourglass\.down_blocks\.", "generator.mask_fix_net.encoder.down_blocks."),
    (r"r\.hourglass\.up_blocks\.", "generator.mask_fix_net.decoder.up_blocks."),
    (r"r\.head\.", "generator.ref."),
    (r"l\.first\.0\.", "generator.first.conv."),
    (r"l\.first\.1\.", "generator.first.norm."),
    (r"l\.bottleneck\.(\d+)\.", r"generator.bottleneck.r\1."),
    (r"l\.up_blocks\.", "generator.up_blocks."),
    (r"l\.head\.", "generator.final."),
    (r"h\.hourglass\.down_blocks\.", "generator.hourglass.encoder.down_blocks."),
    (r"h\.hourglass\.up_blocks\.", "generator.hourglass.decoder.up_blocks."),
    (r"h\.head\.", "generator.final_hourglass."),
)
RELEASED_UNUSED = "generator.down_blocks."  # l's: the released code creates and saves them, and never runs them
RELEASED_NOTE = (
    "The paper's median is taken as the perturbation's threshold. The authors' released code used a fixed one, "
    "th: 100 for VoxCeleb, 60 for Tai-Chi-HD and BAIR; give the th of this training's configuration as --threshold."
)


@dataclass(frozen=True)
class Trained:
    """Networks in eval mode with where they come from.

    Attributes:
        nets: the four networks, float32, on the CPU.
        provenance: for the manifest.
        notes: what the user should know.
    """

    nets: Networks
    provenance: dict[str, Any]
    notes: tuple[str, ...]


def load_trained(path: Path, threshold: int | None = None) -> Trained:
    """Read a checkpoint without running any code that it may carry.

    Args:
        path: ``last.pt`` of maskanim-train, or ``*-checkpoint.pth.tar`` of the released code, of any widths.
        threshold: for the released code's checkpoints, the ``th`` of their configuration, in 0..255: pixels of the
            driver's mask at or below ``threshold / 255`` are set to zero. None: the paper's median.

    Raises:
        MaskanimError: unreadable, foreign or incomplete, weights that are not finite, or a threshold for a checkpoint
            that has its own.
    """
    subject = f"--ckpt {path}"
    values, sha256 = read_file(path, subject)
    if "generator" in values and "mask_generator" in values:
        trained = _load_released(values, threshold, subject)
    elif values.get("format") == FORMAT:
        trained = _load_own(values, threshold, subject)
    else:
        keys = ", ".join(str(key) for key in list(values)[:5]) or "nothing"
        wanted = "a checkpoint of maskanim-train or of the authors' released code"
        raise MaskanimError(subject, f"a dict of something else ({keys})", wanted)
    return replace(trained, provenance={**trained.provenance, "checkpoint_sha256": sha256})


def _load_own(values: dict[str, Any], threshold: int | None, subject: str) -> Trained:
    checkpoint = _own_checkpoint(values, subject)
    try:
        spec = ModelSpec.model_validate(checkpoint.settings["model"])
    except (KeyError, TypeError, ValidationError):
        raise MaskanimError(subject, "settings without a valid model", "those of maskanim-train") from None
    if threshold is not None:
        had = f"one for a model trained with its own perturbation ({spec.perturbation.kind})"
        raise MaskanimError("--threshold", had, "it only with checkpoints of the authors' released code")
    nets = _build(spec, _tensors(checkpoint.networks), str, subject)
    trained = _plain({**checkpoint.provenance, "step": checkpoint.step})
    return Trained(nets, {"trained": trained}, _unfinished(checkpoint))


def _own_checkpoint(values: dict[str, Any], subject: str) -> Checkpoint:
    if values.get("version") != VERSION:
        received = f"checkpoint version {values.get('version')}"
        wanted = f"version {VERSION}, which this maskanim reads"
        raise MaskanimError(subject, received, wanted, "Export it with the maskanim that wrote it")
    checkpoint = load_own(values)
    if checkpoint is None:
        raise MaskanimError(subject, "other entries than a checkpoint's", "those that maskanim-train writes")
    return checkpoint


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As JSON keeps them."""
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def _unfinished(checkpoint: Checkpoint) -> tuple[str, ...]:
    settings = checkpoint.settings
    try:
        total = settings["warmup"]["steps"] + settings["epochs"] * settings["steps_per_epoch"]
        finished = checkpoint.step >= total
    except (KeyError, TypeError):
        return ()
    return () if finished else (f"The training is at step {checkpoint.step} of {total}.",)


def _load_released(values: dict[str, Any], threshold: int | None, subject: str) -> Trained:
    found = {
        f"{part}.{name}": tensor
        for part in ("generator", "mask_generator")
        for name, tensor in _tensors(values[part]).items()
    }
    perturbation = Perturbation() if threshold is None else Perturbation(kind="fixed", threshold=threshold / 255)
    spec = ModelSpec(widths=_released_widths(found, subject), perturbation=perturbation)
    used = {name: tensor for name, tensor in found.items() if not name.startswith(RELEASED_UNUSED)}
    nets = _build(spec, used, released_name, subject)
    trained = _plain({"code": "the authors' released code", "epoch": values.get("epoch")})
    return Trained(nets, {"trained": trained}, () if threshold is not None else (RELEASED_NOTE,))


def released_name(name: str) -> str:
    """The released code's name of an entry of our state dict: ``generator.ref.bias`` for ``r.head.bias``."""
    for ours, theirs in RELEASED_MODULES:
        renamed, count = re.subn(f"^{ours}", theirs, name)
        if count:
            return renamed
    raise ValueError(f"{name} has no counterpart in the released code")


def _released_widths(found: Mapping[str, Tensor], subject: str) -> Widths:
    """The base widths, read off the tensors that show them."""
    axes = {
        "m": ("mask_generator.ref.weight", 1),
        "r": ("generator.ref.weight", 1),
        "l": ("generator.first.conv.weight", 0),
        "h": ("generator.final_hourglass.weight", 1),
    }
    missing = [name for name, axis in axes.values() if name not in found or found[name].ndim != 4]
    if missing:
        raise MaskanimError(subject, f"no convolution {', '.join(missing)}", "those of the released code")
    widths = {network: found[name].shape[axis] for network, (name, axis) in axes.items()}
    widths["h"] -= 8  # the input itself is joined to the last level
    try:
        return Widths.model_validate(widths)
    except ValidationError as error:
        first = error.errors()[0]
        received = f"width {first['input']} of network {first['loc'][0]}"
        raise MaskanimError(subject, received, str(first["msg"])) from None


def _tensors(state: Any) -> dict[str, Tensor]:
    """The tensors of a state dict; whatever else is in its place will be reported as missing."""
    entries = state.items() if isinstance(state, Mapping) else ()
    return {str(name): value.detach() for name, value in entries if isinstance(value, Tensor) and _is_real(value)}


def _is_real(value: Tensor) -> bool:
    """Neither sparse, nor complex, nor without content."""
    return value.layout is torch.strided and not value.is_complex() and not value.is_meta


def _build(spec: ModelSpec, found: Mapping[str, Tensor], name_in_file: Callable[[str], str], subject: str) -> Networks:
    """Networks whose every entry comes from the file; all that is wrong with it is said at once."""
    with torch.device("meta"):
        nets = Networks(spec)
    expected = {name_in_file(name): (name, entry.shape) for name, entry in nets.state_dict().items()}
    _require_match({name: shape for name, (_, shape) in expected.items()}, found, subject)
    state = {ours: _entry(found, name) for name, (ours, _) in expected.items()}
    infinite = [name for name, (ours, _) in expected.items() if not torch.isfinite(state[ours]).all()]
    if infinite:
        raise MaskanimError(subject, f"NaN or infinite values in {_listed(infinite)}", "finite weights")
    nets.load_state_dict(state, assign=True)
    return nets.eval().requires_grad_(False)


def _require_match(expected: Mapping[str, torch.Size], found: Mapping[str, Tensor], subject: str) -> None:
    missing = [name for name in expected if name not in found and not _is_counter(name)]
    foreign = [name for name in found if name not in expected]
    wrong = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    problems = {"missing": missing, "not known": foreign, "of another shape": wrong}
    told = "; ".join(f"{len(names)} {what}: {_listed(names)}" for what, names in problems.items() if names)
    if told:
        raise MaskanimError(subject, told, "the tensors of the four networks")


def _entry(found: Mapping[str, Tensor], name: str) -> Tensor:
    if _is_counter(name):
        return torch.zeros((), dtype=torch.long)
    return found[name].float().contiguous()


def _is_counter(name: str) -> bool:
    """Batch norm counts its batches; old versions of PyTorch did not, and inference never asks."""
    return name.endswith(".num_batches_tracked")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"
