"""Checkpoints of a run: the last few by their steps, and last.pt, the newest of them."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from maskanim.atomic import replacing
from maskanim.bundle import Bundle
from maskanim.checkpoint import Checkpoint, load_own, read_file
from maskanim.errors import MaskanimError, needs_extra
from maskanim.spec import ADDITIONS
from maskanim.train.data.pairs import Pairs, batches
from maskanim.train.settings import TrainSettings

LAST = "last.pt"
SHOWN = 8  # pairs that show a bundle's networks what their features are like


def save_checkpoint(checkpoint: Checkpoint, out: Path, keep: int) -> Path:
    """Write step-0001234.pt, make last.pt the same file, and delete all but the newest few.

    Each file is whole or not there at all, whenever the process ends.

    Args:
        keep: how many to keep, at least one.

    Returns:
        The new file.

    Raises:
        MaskanimError: it cannot be written.
    """
    path = out / f"step-{checkpoint.step:07d}.pt"
    try:
        for partial in out.glob(".step-*.partial-*"):  # of a process that was killed while writing
            partial.unlink()
        checkpoint.save(path)
        _link(path, out / LAST)
        for old in sorted(out.glob("step-*.pt"))[:-keep]:
            old.unlink()
    except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:100]
        expected = "a folder with room for it"
        raise MaskanimError(str(path), f"cannot be written ({reason})", expected) from error
    return path


def read_checkpoint(path: Path, settings: TrainSettings, fingerprint: str) -> Checkpoint:
    """A checkpoint to go on with.

    Args:
        path: last.pt, or another of them.
        settings: those of the run that is to go on.
        fingerprint: of the list of clips that it is to go on with; a checkpoint without one does not care.

    Raises:
        MaskanimError: it is not one, or of another run.
    """
    checkpoint = load_own(read_file(path, str(path)).values)
    if checkpoint is None:
        raise MaskanimError(str(path), "not a checkpoint of this version", "one written by maskanim-train")
    if checkpoint.provenance.get("data_files", fingerprint) != fingerprint:
        expected = "the clips it was started with, and no others"
        raise MaskanimError(f"--resume {path}", "a run on other clips", expected)
    try:
        before = TrainSettings.model_validate(checkpoint.settings)
    except ValidationError as error:
        names = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        received = f"settings that are not known here ({names})"
        raise MaskanimError(f"--resume {path}", received, "those of this version") from None
    changed = settings.changed_from(before, checkpoint.step)
    if changed:
        expected = "the settings it was started with"
        raise MaskanimError(f"--resume {path}", f"a run with other settings ({', '.join(changed)})", expected)
    return checkpoint


def read_weights(path: Path, settings: TrainSettings, pairs: Pairs) -> dict[str, Tensor]:
    """The four networks that a new run begins with.

    Args:
        path: a checkpoint of maskanim-train, or a bundle's folder.
        pairs: its data, on which the statistics that a bundle does not keep are measured.

    Raises:
        MaskanimError: it is neither, its weights are not finite, or it is of networks of other widths or skips.
    """
    if path.is_dir():
        return _read_bundle(path, settings, pairs)
    checkpoint = load_own(read_file(path, str(path)).values)
    if checkpoint is None:
        raise MaskanimError(f"--init {path}", "not a checkpoint of this version", "one written by maskanim-train")
    _check_networks(path, checkpoint.settings.get("model"), settings)
    broken = [name for name, value in checkpoint.best.items() if not value.isfinite().all()]
    if broken:
        raise MaskanimError(f"--init {path}", f"NaN or infinite values in {', '.join(broken[:5])}", "finite weights")
    return checkpoint.best


def _read_bundle(path: Path, settings: TrainSettings, pairs: Pairs) -> dict[str, Tensor]:
    with needs_extra("--init of a bundle", "export"):
        from maskanim.export.restoring import restore_networks, settle_norms

    bundle = Bundle.open(path)
    _check_networks(path, bundle.manifest.model.model_dump(), settings)
    nets = restore_networks(bundle)
    with closing(batches(pairs, 0, 1, SHOWN, workers=1)) as loaded:  # a worker: no OpenGL is to start in this process
        shown = next(loaded)
    settle_norms(nets, shown.source / 255, shown.driving / 255)
    return nets.state_dict()


def _check_networks(path: Path, model: Any, settings: TrainSettings) -> None:
    """Networks of other widths, skips or blocks would take other weights; another perturbation takes the same."""
    for what in ("widths", *ADDITIONS):
        got, wanted = ((spec or {}).get(what, 0) for spec in (model, settings.model.model_dump()))
        if got != wanted:
            raise MaskanimError(f"--init {path}", f"networks of {what} {got}", f"those of the settings, {wanted}")


def _link(path: Path, last: Path) -> None:
    """Another name for the same file where the file system knows such names, else a copy."""
    with replacing(last) as partial:
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)
