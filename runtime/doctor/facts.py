"""The records of a diagnosis. `Diagnosis.as_json` is what ``maskanim-doctor --json`` prints: these fields, nested.

A field's meaning never changes within one `FORMAT_VERSION`; new fields may come.
"""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from maskanim.driver import Driver
from maskanim.runtime.sessions.session import processors

FORMAT: Final = "maskanim-doctor"
FORMAT_VERSION: Final = 1

# What the networks' arithmetic gains from, slowest first.
EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

# missing: a package is not installed. conflict: packages exclude each other. broken: it is installed and does not load.
# driver: NVIDIA's driver is missing, fails or is too old. gpu: there is none, or not one that the library supports.
# failed: all that is needed is there, and opening the model or animating a frame failed.
Kind = Literal["missing", "conflict", "broken", "driver", "gpu", "failed"]


@dataclass(frozen=True)
class Machine:
    """The computer."""

    # platform, python: as Python names them
    platform: str
    python: str
    processor: str  # its name
    extensions: tuple[str, ...]  # those of EXTENSIONS that it has
    cores: int  # how many processors this process may use


@dataclass(frozen=True)
class Package:
    """A package that maskanim can use."""

    module: str  # its import name
    distributions: dict[str, str]  # what is installed under that name, as pip knows it, with versions
    loads: bool | None = None  # whether importing it works; None where that was not tried
    version: str | None = None  # what the imported module says
    problem: str | None = None  # why it does not load
    providers: tuple[str, ...] = ()  # with onnxruntime, its execution providers

    @property
    def installed(self) -> bool:
        return bool(self.distributions) or self.loads is not None


@dataclass(frozen=True)
class Model:
    """The model that commands would run."""

    # name, size, path: of its bundle; size is ``full``, ``lite`` or ``custom``
    name: str | None = None
    size: str | None = None
    path: str | None = None
    why: str | None = None  # why it is this one
    problem: str | None = None  # why it cannot be used; then the others are None


@dataclass(frozen=True)
class Obstacle:
    """One reason why an engine does not run here."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Verdict:
    """Whether an engine runs here."""

    engine: str  # its name
    runs: bool  # nothing is in its way; if `tried`, it has run
    tried: bool  # it opened the current model and animated a frame
    detail: str | None = None  # what ran: library, version, device, precision
    obstacles: tuple[Obstacle, ...] = ()  # all that is in its way
    seconds: float | None = None  # the trial took, or None


@dataclass(frozen=True)
class Diagnosis:
    """All that was found.

    Attributes:
        maskanim: its version.
        machine, driver, packages, model: the facts.
        engines: the verdicts, in the order in which ``auto`` tries them.
        auto: the engine that ``auto`` would take, or None.
        advice: one shell command that gives a better engine than `auto`, or any at all; None where there is none.
        warnings: what is wrong without being in the way.
        seconds: the examination took.
        can_run: some engine can run the current model; ``maskanim-doctor`` exits with 0 if so, else with 1.
    """

    maskanim: str
    machine: Machine
    driver: Driver
    packages: tuple[Package, ...]
    model: Model
    engines: tuple[Verdict, ...]
    auto: str | None
    advice: str | None
    warnings: tuple[str, ...]
    seconds: float

    @property
    def can_run(self) -> bool:
        return self.auto is not None and self.model.problem is None

    def as_json(self) -> str:
        """The diagnosis with its format's name and version first."""
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "can_run": self.can_run}
        return json.dumps(head | asdict(self), indent=2)


def this_machine() -> Machine:
    """What Python and the operating system say of this computer."""
    name, flags = _processor()
    extensions = tuple(extension for extension in EXTENSIONS if extension in flags)
    return Machine(platform.platform(), platform.python_version(), name, extensions, processors())


def _processor() -> tuple[str, list[str]]:
    """Its name, and the flags that Linux gives it."""
    unknown = platform.processor() or platform.machine() or "unknown"
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return unknown, []
    fields = dict(re.findall(r"^(model name|flags)\s*: (.*)$", text, re.MULTILINE))
    return fields.get("model name", unknown), fields.get("flags", "").split()
