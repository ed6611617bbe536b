"""Which model runs: the one that is named, else the one exported last, else the embedded demo."""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import platformdirs

from maskanim.atomic import check_writable, replacing, write_text
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError

LOG = logging.getLogger(__name__)

DEMO = Path(__file__).parent / "demo"  # bundle, source.png and driving.mp4
HOME_VARIABLE = "MASKANIM_HOME"
CURE = f"set {HOME_VARIABLE} to a folder that can be written"


class Choice(NamedTuple):
    """A model and why it was chosen, as every command prints it."""

    bundle: Bundle
    why: str


def home() -> Path:
    """Where maskanim keeps what outlasts a run, such as the current model: an absolute path.

    $MASKANIM_HOME, or the platform's folder for settings. A user may have neither, as in a container that runs under a
    number without a name: then it is a private folder that goes with the process.
    """
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).absolute()
    try:
        folder = platformdirs.user_config_path("maskanim", appauthor=False, roaming=True)
    except RuntimeError:  # no home at all; older versions give a relative path
        return _private_folder()
    usable = folder.is_absolute() and os.environ.get("HOME") != "" and _usable(folder)
    return folder if usable else _private_folder()


def _usable(folder: Path) -> bool:
    """Whether a folder is there or can be made."""
    with suppress(OSError):  # it lies in another user's home, or its name is too long
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        return existing.is_dir() and (existing == folder or os.access(existing, os.W_OK | os.X_OK))
    return False


@cache
def _private_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="maskanim-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    LOG.info("note: this user has no folder for settings: keys and measurements are for this run only; %s", CURE)
    return Path(folder)


def keep(file: Path, values: object) -> None:
    """Write what each start would else find out anew, as JSON; where our folder cannot be written, say so once."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(values) + "\n")
    except OSError as error:
        if home() in file.parents:
            _tell_not_kept(home(), error.strerror or str(error))


@cache
def _tell_not_kept(folder: Path, reason: str) -> None:
    LOG.info("note: %s cannot be written (%s), so each start measures the model anew; %s", folder, reason, CURE)


def check_register() -> None:
    """Refuse, before any work, where no model can be made the current one.

    Raises:
        MaskanimError: maskanim's folder is none, or cannot be written.
    """
    folder = home()
    if not _usable(folder):
        expected, next_step = "a folder, or a place for one", f"Set {HOME_VARIABLE} to one; or use --no-register"
        raise MaskanimError(f"maskanim's folder {folder}", "not a folder, and none can be made", expected, next_step)
    if folder.is_dir():
        check_writable(folder / "current")


def register(bundle: Bundle) -> None:
    """Make a bundle the current model."""
    home().mkdir(parents=True, exist_ok=True)
    with replacing(home() / "current") as partial:
        partial.write_bytes(os.fsencode(bundle.path.resolve()))  # a folder's name need not be UTF-8


def demo_bundle() -> Bundle:
    """The embedded demo model."""
    return Bundle.open(DEMO / "bundle")


def choose(model: str | None) -> Choice:
    """Open a named bundle, or the current model, or the embedded demo.

    Args:
        model: a bundle's folder, ``demo``, or None.

    Raises:
        MaskanimError: the bundle is missing or damaged; a current model is never passed over silently.
    """
    if model == "demo":
        return Choice(demo_bundle(), "the embedded demo")
    if model is not None:
        return Choice(Bundle.open(Path(model)), "named")
    current = home() / "current"
    if current.is_file():
        return Choice(
            Bundle.open(Path(os.fsdecode(current.read_bytes()))), "exported last; choose another with --model"
        )
    return Choice(demo_bundle(), "the embedded demo, as no model was exported yet")
