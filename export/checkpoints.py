"""Trained networks from a checkpoint: of maskanim-train, or of the authors' released code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from maskanim.checkpoint import FORMAT, VERSION, load_own, read_file
from maskanim.errors import MaskanimError
from maskanim.networks import Networks
from maskanim.spec import LEVELS, MAX_WIDTH, NETWORK_NAMES, ModelSpec, Perturbation, Widths

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
RELEASED_KEYS = ("generator", "mask_generator")
OWN_PARTS = tuple(f"{name}." for name in NETWORK_NAMES)
WRAPPER = "state_dict"
RELEASED_UNUSED = "generator.down_blocks."  # l's: the released code creates and saves them, and never runs them
RELEASED_NOTE = (
    "The paper's median is taken as the perturbation's threshold. The authors' released code used a fixed one, "
    "th: 100 for VoxCeleb, 60 for Tai-Chi-HD and BAIR; give the th of this training's configuration as --threshold."
)

ANIMATE_NOTE = (
    "It animates as the released code does: the perturbed mask is floored to 8 bits and shrunk to three quarters about "
    "its centre. The authors' published samples do not show that."
)


class Trained(NamedTuple):
    """Networks in eval mode with where they come from."""

    nets: Networks  # the four networks, float32, on the CPU
    provenance: dict[str, Any]  # for the manifest
    notes: tuple[str, ...]  # what the user should know


def load_trained(path: Path, threshold: int | None = None, *, released_animate: bool = False) -> Trained:
    """Read a checkpoint without running any code that it may carry.

    Args:
        path: ``last.pt`` of maskanim-train, or ``*-checkpoint.pth.tar`` of the released code, of any widths; or the
            weights of either alone, as a state dict or in safetensors.
        threshold: for all but maskanim-train's checkpoints, the ``th`` of the released code's configuration, in 0..255:
            pixels of the driver's mask at or below ``threshold / 255`` are set to zero. None: the paper's median.
        released_animate: likewise, animate as the released code does; see `Perturbation`.

    Raises:
        MaskanimError: unreadable, foreign or incomplete, weights that are not finite, or a threshold for a checkpoint
            that has its own.
    """
    subject = f"--ckpt {path}"
    values, sha256 = read_file(path, subject)
    notes: list[str] = []
    while isinstance(values.get(WRAPPER), dict):
        values = values[WRAPPER]
        notes.append(f"The weights were taken out of the entry {WRAPPER}.")
    if values.get("format") == FORMAT:
        if threshold is not None or released_animate:
            flag = "--threshold" if threshold is not None else "--released-animate"
            wanted = "it only with checkpoints of the authors' released code"
            raise MaskanimError(flag, "one for a model trained with its own perturbation", wanted)
        nets, origin, more = _load_own(values, subject)
    else:
        fixed = {} if threshold is None else {"kind": "fixed", "threshold": threshold / 255}
        perturbation = Perturbation.model_validate({**fixed, "released_animate": released_animate})
        nets, origin, more = _load_weights(values, perturbation, subject)
    # As JSON keeps it, in UTF-8, which a path in the command need not be.
    told = json.dumps(origin, ensure_ascii=False, default=lambda v: v.item() if isinstance(v, np.generic) else str(v))
    plain = json.loads(told.encode("utf-8", "replace"))
    return Trained(nets, {"trained": plain, "checkpoint_sha256": sha256}, (*notes, *more))


def _load_own(values: dict[str, Any], subject: str) -> Trained:
    if values.get("version") != VERSION:
        received = f"checkpoint version {values.get('version')}"
        wanted = f"version {VERSION}, which this maskanim reads"
        raise MaskanimError(subject, received, wanted, "Export it with the maskanim that wrote it")
    checkpoint = load_own(values)
    if checkpoint is None:
        raise MaskanimError(subject, "other entries than a checkpoint's", "those that maskanim-train writes")
    settings, step = checkpoint.settings, checkpoint.step
    notes: tuple[str, ...] = ()
    try:
        spec = ModelSpec.model_validate(settings["model"])
    except (KeyError, TypeError, ValidationError):
        raise MaskanimError(subject, "settings without a valid model", "those of maskanim-train") from None
    with suppress(KeyError, TypeError):
        total = settings["warmup"]["steps"] + settings["epochs"] * settings["steps_per_epoch"]
        notes = (f"The training is at step {step} of {total}.",) if step < total else ()
    nets = build_networks(spec, _tensors(checkpoint.best), str, subject)
    return Trained(nets, {**checkpoint.provenance, "step": step}, notes)


def _load_weights(values: Mapping[str, Any], perturbation: Perturbation, subject: str) -> Trained:
    """Weights without their settings: the released code's checkpoint, or a state dict of its names or of ours."""
    wrapped = _tensors(values)
    if all(part in values for part in RELEASED_KEYS):  # the released code keeps two state dicts
        wrapped = {
            f"{part}.{name}": tensor for part in RELEASED_KEYS for name, tensor in _tensors(values[part]).items()
        }
    found = {re.sub(r"(^|\.)module\.", r"\1", name): tensor for name, tensor in wrapped.items()}
    notes = ["DataParallel's prefix module. was taken off."] if found.keys() != wrapped.keys() else []
    released = any(str(name).startswith(RELEASED_KEYS) for name in (*values, *found))
    if not released and not any(name.startswith(OWN_PARTS) for name in found):
        keys = ", ".join(str(key) for key in list(values)[:5]) or "nothing"
        wanted = "a checkpoint of maskanim-train or of the authors' released code"
        raise MaskanimError(subject, f"a dict of something else ({keys})", wanted)
    names: Callable[[str], str] = released_name if released else str
    spec = _spec(found, names, subject).model_copy(update={"perturbation": perturbation})
    used = {name: tensor for name, tensor in found.items() if not name.startswith(RELEASED_UNUSED)}
    nets = build_networks(spec, used, names, subject)
    code = "the authors' released code" if released else "not known: weights alone"
    notes += [RELEASED_NOTE] if perturbation.threshold is None else []
    notes += [ANIMATE_NOTE] if perturbation.released_animate else []
    return Trained(nets, {"code": code, "epoch": values.get("epoch")}, tuple(notes))


def released_name(name: str) -> str:
    """The released code's name of an entry of our state dict: ``generator.ref.bias`` for ``r.head.bias``."""
    for ours, theirs in RELEASED_MODULES:
        renamed, count = re.subn(f"^{ours}", theirs, name)
        if count:
            return renamed
    raise ValueError(f"{name} has no counterpart in the released code")


def _spec(found: Mapping[str, Tensor], name_in_file: Callable[[str], str], subject: str) -> ModelSpec:
    """The base widths, the skips of m and r and the blocks of r, read off the convolutions that show them."""
    last = f"hourglass.up_blocks.{LEVELS - 1}.conv.weight"
    names = {name: name_in_file("l.first.0.weight" if name == "l" else f"{name}.{last}") for name in NETWORK_NAMES}
    heads = [name_in_file(f"{name}.head.weight") for name in ("m", "r")]
    missing = [name for name in (*names.values(), *heads) if name not in found or found[name].ndim != 4]
    if missing:
        raise MaskanimError(subject, f"no convolution {', '.join(missing)}", "those of the four networks")
    widths = {name: found[key].shape[0] for name, key in names.items()}
    skips = _skips(found, name_in_file, widths["m"])
    try:
        return ModelSpec(widths=Widths.model_validate(widths), mask_skips=skips, refinement_blocks=_blocks(found))
    except ValidationError as error:
        first = error.errors()[0]
        received = f"width {first['input']} of network {first['loc'][0]}"
        raise MaskanimError(subject, received, str(first["msg"])) from None


def _skips(found: Mapping[str, Tensor], name_in_file: Callable[[str], str], base: int) -> int:
    """How many decoder levels of m take more channels than the level before gives: theirs are joined by a skip."""
    taken = [found[name_in_file("m.head.weight")].shape[1]]
    given = [base]
    for level in range(1, LEVELS):
        weight = found.get(name_in_file(f"m.hourglass.up_blocks.{LEVELS - level}.conv.weight"))
        taken.append(weight.shape[1] if weight is not None and weight.ndim == 4 else 0)
        given.append(min(MAX_WIDTH, base * 2**level))
    return sum(got > before for got, before in zip(taken, given, strict=True))


def _blocks(found: Mapping[str, Tensor]) -> int:
    """How many residual blocks stand before the last level of r's decoder. The released code has none."""
    last = f"r.hourglass.res_blocks.{LEVELS - 1}"
    return next(n for n in count() if f"{last}.{n}.conv1.weight" not in found)


def _tensors(state: Any) -> dict[str, Tensor]:
    """The tensors of a state dict; whatever else is in its place will be reported as missing."""
    entries = state.items() if isinstance(state, Mapping) else ()
    tensors = {str(name): value.detach() for name, value in entries if isinstance(value, Tensor)}
    return {n: t for n, t in tensors.items() if t.layout is torch.strided and not t.is_complex() and not t.is_meta}


def build_networks(
    spec: ModelSpec, found: Mapping[str, Tensor], name_in_file: Callable[[str], str], subject: str
) -> Networks:
    """Networks whose every entry comes from a file, in eval mode; all that is wrong with it is said at once.

    Args:
        name_in_file: of an entry of our state dict.
        subject: what the file is called in an error.

    Raises:
        MaskanimError: tensors are missing, not known, of another shape or not finite.
    """
    with torch.device("meta"):
        nets = Networks(spec)
    expected = {name_in_file(name): entry.shape for name, entry in nets.state_dict().items()}
    # Batch norm counts its batches; old versions of PyTorch did not, and inference never asks.
    counters = {name: torch.zeros((), dtype=torch.long) for name in expected if name.endswith(".num_batches_tracked")}
    weights = {name: found[name] for name in expected if name in found and name not in counters}
    wrong = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != shape
    ]
    problems = {
        "missing": [name for name in expected if name not in weights and name not in counters],
        "not known": [name for name in found if name not in expected],
        "of another shape": wrong,
    }
    told = "; ".join(f"{len(names)} {what}: {_listed(names)}" for what, names in problems.items() if names)
    if told:
        raise MaskanimError(subject, told, "the tensors of the four networks")
    infinite = [name for name, weight in weights.items() if not torch.isfinite(weight.float()).all()]
    if infinite:
        raise MaskanimError(subject, f"NaN or infinite values in {_listed(infinite)}", "finite weights")
    entries = {name: weight.float().contiguous() for name, weight in weights.items()} | counters
    nets.load_state_dict({name: entries[name_in_file(name)] for name in nets.state_dict()}, assign=True)
    return nets.eval().requires_grad_(False)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"
