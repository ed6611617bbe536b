"""The two TensorRT libraries, which have one API: found, loaded and checked here."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections import deque
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from maskanim.errors import MaskanimError, MissingPackageError

LibraryName = Literal["trt", "rtx"]

MESSAGES_KEPT = 50


@dataclass(frozen=True)
class Library:
    """What is known of a library before it is loaded."""

    name: LibraryName  # of the engine and of the extra that brings it
    title: str  # as NVIDIA calls it
    module: str  # the Python module
    bindings: str  # the module inside it that needs the shared libraries
    minimum: tuple[int, int]  # the oldest version that this code runs with, major and minor
    builds_without_gpu: bool  # whether engines can be built on a machine that has none
    # the module of its lean runtime, which runs version compatible engines and builds none; None: it has none
    lean: str | None = None


LIBRARIES: dict[LibraryName, Library] = {
    "trt": Library("trt", "TensorRT", "tensorrt", "tensorrt_bindings", (10, 12), False, "tensorrt_lean"),
    # 1.2 is the first whose engines can promise to run inside a CUDA graph: BuilderFlag.REQUIRE_USER_ALLOCATION.
    "rtx": Library("rtx", "TensorRT-RTX", "tensorrt_rtx", "tensorrt_rtx_bindings", (1, 2), builds_without_gpu=True),
}


@dataclass(frozen=True)
class LoadedLibrary:
    """A library that is imported and new enough."""

    known: Library  # what is known of it without importing it
    module: Any  # ``tensorrt``, ``tensorrt_rtx``, or ``tensorrt_lean``, which has the classes of the runtime only
    version: str  # e.g. ``10.16.1.11``
    # a `Log` that is also the module's ILogger. A process has one for each library, because the library keeps the first
    # that it is given and ignores all later ones.
    logger: Any
    is_lean: bool = False  # whether it only runs engines

    @property
    def full_name(self) -> str:
        """Name and version, e.g. ``TensorRT 10.16.1.11``."""
        return f"{self.known.title}{' lean' if self.is_lean else ''} {self.version}"


class Log:
    """The last errors of a library, which prints none of them; cleared before work whose errors will be told."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=MESSAGES_KEPT)


@cache
def load_library(name: LibraryName) -> LoadedLibrary:
    """Import a library; where only its lean runtime is installed, that one.

    Raises:
        MissingPackageError: it is not installed.
        MaskanimError: its shared libraries are missing or do not load, or it is too old.
    """
    library = LIBRARIES[name]
    module = _import(library)
    version = str(module.__version__)
    if numbers(version) < library.minimum:
        wanted = "{}.{} or newer".format(*library.minimum)
        upgrade = f"Upgrade it with: pip install --upgrade 'maskanim[{name}]'"
        raise MaskanimError(f"--engine {name}", f"{library.title} {version}", wanted, upgrade)
    return LoadedLibrary(library, module, version, _logger(module), module.__name__ == library.lean)


def _import(library: Library) -> Any:
    try:
        return importlib.import_module(library.module)
    except ModuleNotFoundError as error:
        missing = error.name == library.module
        if missing and library.lean and importlib.util.find_spec(library.lean):
            return _import(replace(library, module=library.lean, bindings=f"{library.lean}_bindings", lean=None))
        if not missing or not importlib.util.find_spec(library.bindings):
            name = error.name or library.module
            raise MissingPackageError(f"--engine {library.name}", name, library.name) from None
        found = f"only the package {library.bindings} is, without {library.module}"
    except (ImportError, OSError) as error:
        found = f"it does not load: {' '.join(str(error).split())}"
    mend = f"Remove its packages ({library.module}*) with pip, then: pip install 'maskanim[{library.name}]'"
    told, wanted = f"{library.title} is not wholly installed, {found}", "its shared libraries beside it"
    raise MaskanimError(f"--engine {library.name}", told, wanted, mend)


def numbers(version: str) -> tuple[int, ...]:
    """(10, 16, 1, 11) of ``10.16.1.11``."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _logger(module: Any) -> Any:
    class Logger(Log, module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            Log.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            # Called from the library's own threads, where an exception would end the process.
            if int(severity) < int(module.ILogger.Severity.WARNING):
                self.errors.append(message)

    return Logger()
