"""Finding the networks' files on this machine, checking their hashes, and opening them."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import cache, cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maskanim.benchmarks.scoring.nets.registry import NETWORKS, Form, Network
from maskanim.errors import MaskanimError

if TYPE_CHECKING:
    from maskanim.benchmarks.scoring.nets.runner import Runs

VARIABLE = "MASKANIM_NETS"


class Place(NamedTuple):
    """Where a network was found: the form, and its files in the form's order."""

    form: Form
    files: tuple[Path, ...]


def cache_folder() -> Path:
    """Where fetched networks are kept: what the system calls its cache, below ``maskanim/nets``."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "maskanim" / "nets"


class Nets:
    """The networks that are to be had here.

    Args:
        folder: where they lie, in it or in a folder of it; without it, the one that MASKANIM_NETS names, else the
            cache.

    Raises:
        MaskanimError: the folder that was given does not exist.
    """

    def __init__(self, folder: Path | None = None) -> None:
        named = os.environ.get(VARIABLE)
        told = f"--nets {folder}" if folder else f"{VARIABLE}={named}" if named else ""
        self.folder = folder or (Path(named) if named else cache_folder())
        if told and not self.folder.is_dir():
            raise MaskanimError(told, "there is no such folder", "the folder of the networks")
        self._opened: dict[str, Runs] = {}

    def find(self, name: str) -> Place | None:
        """Where a network's files are, hashes not yet checked; None if they are not here."""
        return next((place for form in NETWORKS[name].forms if (place := self._find(form))), None)

    def missing(self, name: str) -> str:
        """Why a network cannot be used; empty if it can.

        Raises:
            MaskanimError: a file of it is another than the registry knows.
        """
        place = self.find(name)
        if place is None:
            return f"{name} is not here: maskanim-bench quality nets"
        for module, extra in NETWORKS[name].modules:
            if find_spec(module) is None:
                return f"{module} is not installed: pip install 'maskanim[{extra}]'"
        check(NETWORKS[name], place)
        return ""

    def open(self, name: str) -> Runs:
        """The network; it is read when it runs first, for not every run needs all that could be seen.

        Raises:
            MaskanimError: it is not here, or not the one that the registry knows, or what runs it is not installed.
        """
        if name not in self._opened:
            from maskanim.benchmarks.scoring.nets.opening import open_network

            place = self.find(name)
            told = self.missing(name)
            if place is None or told:
                raise MaskanimError(f"network {name}", told, "its files, and what runs them")
            read = cache(partial(open_network, name, place.files))
            self._opened[name] = lambda batch: read()(batch)
        return self._opened[name]

    def _find(self, form: Form) -> Place | None:
        if form.package and form.package.install:
            files = tuple(_installed(form.package.folder, name) for name, _ in form.files)
        else:
            files = tuple(self._files.get(name) for name, _ in form.files)
        return Place(form, tuple(file for file in files if file)) if all(files) else None

    @cached_property
    def _files(self) -> dict[str, Path]:
        found = [*self.folder.glob("*/*"), *self.folder.glob("*")] if self.folder.is_dir() else []
        return {path.name: path for path in found}


def _installed(folder: str, name: str) -> Path | None:
    module, _, below = folder.partition("/")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / below / name
    return path if path.is_file() else None


def check(network: Network, place: Place) -> None:
    """Compare hashes.

    Raises:
        MaskanimError: a file is another one, or damaged.
    """
    for (_, expected), path in zip(place.form.files, place.files, strict=True):
        received = hashlib.sha256(path.read_bytes()).hexdigest()
        if received != expected:
            raise MaskanimError(
                str(path), f"sha256 {received[:12]}...", f"{expected[:12]}..., that of {network.signature}",
                "Remove it and fetch it anew: maskanim-bench quality nets --fetch",
            )  # fmt: skip
