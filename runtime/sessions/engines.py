"""Which library runs a bundle: the one that is asked for, else the first that really works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple

import numpy as np

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.ops import Array
from maskanim.runtime.sessions.session import Session
from maskanim.spec import NETWORKS, NetworkName

AUTO = "auto"


class Engine(NamedTuple):
    """An inference library.

    Attributes:
        package: the import that it needs.
        extra: the extra of maskanim that installs it.
        module: the one here whose ``open_sessions(bundle)`` returns the sessions and a line on what runs them.
    """

    package: str
    extra: str
    module: str


# In the order in which `auto` tries them.
ENGINES: dict[str, Engine] = {
    "openvino": Engine("openvino", "cpu", "maskanim.runtime.sessions.openvino"),
    "ort": Engine("onnxruntime", "cpu", "maskanim.runtime.sessions.ort"),
}


class EngineInUse(NamedTuple):
    """What really runs.

    Attributes:
        name: its name in ENGINES.
        detail: library, version, processor, threads, precision.
        passed_over: the engines that `auto` tried before, each with the reason why it does not work.
    """

    name: str
    detail: str
    passed_over: Mapping[str, str]


class SessionNets:
    """The four networks as `pipeline.Nets` over NumPy arrays; arguments and results as in `Session.run`."""

    def __init__(self, sessions: Mapping[NetworkName, Session], engine: EngineInUse) -> None:
        self.sessions, self.engine = sessions, engine

    def m(self, image: Array, /) -> Array:
        return self.sessions["m"].run(image)

    def r(self, source_small: Array, source_mask: Array, perturbed_mask: Array, /) -> Array:
        return self.sessions["r"].run(source_small, source_mask, perturbed_mask)

    def l(self, source_small: Array, source_mask: Array, refined_mask: Array, /) -> Array:  # noqa: E743 - the paper's name
        return self.sessions["l"].run(source_small, source_mask, refined_mask)

    def h(self, source: Array, source_mask_up: Array, refined_mask_up: Array, coarse: Array, /) -> Array:
        return self.sessions["h"].run(source, source_mask_up, refined_mask_up, coarse)

    def close(self) -> None:
        """Close the four sessions."""
        for session in self.sessions.values():
            session.close()


def check_engine(engine: str) -> None:
    """Refuse an unknown engine.

    Raises:
        MaskanimError: lists the known ones.
    """
    if engine != AUTO and engine not in ENGINES:
        raise MaskanimError(f"engine {engine}", "no such engine", f"one of {', '.join((AUTO, *ENGINES))}")


def open_nets(bundle: Bundle, engine: str = AUTO) -> SessionNets:
    """Load a bundle's networks and run one of them.

    Args:
        bundle: the model.
        engine: a name in ENGINES, which is then used or fails; or ``auto``, the first of them that works.

    Returns:
        The networks, whose ``engine`` says what was chosen; to be closed by the caller.

    Raises:
        MissingPackageError: the engine's package is not installed.
        MaskanimError: the engine is unknown, or cannot load or run the networks.
    """
    check_engine(engine)
    if engine != AUTO:
        return _open(bundle, engine, {})
    passed_over: dict[str, str] = {}
    for name in ENGINES:
        try:
            return _open(bundle, name, passed_over)
        except MaskanimError as error:
            passed_over[name] = str(error)
    received = "; ".join(f"{name} does not work: {why.rstrip('.')}" for name, why in passed_over.items())
    raise MaskanimError(f"engine {AUTO}", received, "one that works")


def _open(bundle: Bundle, name: str, passed_over: Mapping[str, str]) -> SessionNets:
    sessions, detail = _opener(name)(bundle)
    nets = SessionNets(sessions, EngineInUse(name, detail, dict(passed_over)))
    try:
        nets.m(np.zeros(NETWORKS["m"].inputs[0].shape(1), np.float32))
    except MaskanimError:
        nets.close()
        raise
    return nets


def _opener(name: str) -> Callable[[Bundle], tuple[dict[NetworkName, Session], str]]:
    subject, engine = f"engine {name}", ENGINES[name]
    try:
        return import_module(engine.module).open_sessions
    except ModuleNotFoundError as error:
        if error.name != engine.package:
            raise
        raise MissingPackageError(subject, engine.package, engine.extra) from None
    except ImportError as error:
        raise MaskanimError(
            subject, f"{engine.package} cannot be imported ({error})", "a working installation"
        ) from error
