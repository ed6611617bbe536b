"""Writing the repository: a configuration, the model's code, and the bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

from maskanim.atomic import replace_folder, sibling_folder
from maskanim.bundle import MANIFEST, Bundle
from maskanim.errors import MaskanimError
from maskanim.export.triton.config import Serving, config_pbtxt

CONFIG, VERSION, CODE, BUNDLE = "config.pbtxt", "1", "model.py", "bundle"


def check_repository(folder: Path, serving: Serving) -> None:
    """Refuse, before any work, a place where the model cannot be written.

    Args:
        folder: the repository; it may be missing, and other models may be in it.

    Raises:
        MaskanimError: the repository's folder cannot be, or something else has the model's name there.
    """
    subject, model = f"--triton {folder}", folder / serving.name
    if not (folder if folder.exists() else folder.parent).is_dir():
        found = "a file" if folder.exists() else f"the folder {folder.parent} does not exist"
        raise MaskanimError(subject, found, "the folder of a model repository", "Create it first")
    if model.exists() and not (model / VERSION / BUNDLE / MANIFEST).is_file():
        next_step = "Choose another folder, or another name for the model"
        raise MaskanimError(subject, f"another {serving.name} in it", "a place for the model", next_step)


def write_repository(bundle: Bundle, folder: Path, serving: Serving | None = None) -> Path:
    """Write a bundle, with its engine plans, as a model of a Triton repository; an older one there is replaced.

    Args:
        folder: the repository, made if it is missing.

    Returns:
        The model's folder in the repository.

    Raises:
        MaskanimError: as `check_repository`, or the disk refuses; what was there stays.
    """
    serving = serving or Serving()
    check_repository(folder, serving)
    model = folder / serving.name
    try:
        folder.mkdir(exist_ok=True)
        with sibling_folder(model) as partial:
            _write(bundle, partial, serving)
            Bundle.open(partial / VERSION / BUNDLE)
            replace_folder(partial, model)
    except OSError as error:
        received = f"cannot be written ({error.strerror or error})"
        raise MaskanimError(f"--triton {folder}", received, "a folder that can be written") from error
    return model


def model_source() -> Path:
    """The file that becomes model.py."""
    return Path(__file__).with_name(CODE)


def _write(bundle: Bundle, model: Path, serving: Serving) -> None:
    (model / CONFIG).write_text(config_pbtxt(serving, bundle), "utf-8")
    version = model / VERSION
    version.mkdir()
    shutil.copyfile(model_source(), version / CODE)
    shutil.copytree(bundle.path, version / BUNDLE, ignore=shutil.ignore_patterns(".*"))
