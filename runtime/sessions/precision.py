"""Which networks run in INT8 here: what a bundle's export allows, what this processor gains, and what its frames keep.

The first start measures and keeps what it found; later ones read it, so that a model runs the same way each time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from maskanim import __version__
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.golden import agreement, read_golden
from maskanim.int8 import to_int8
from maskanim.models import home, keep
from maskanim.runtime.sessions.host import HostRunner
from maskanim.runtime.sessions.session import Session, SessionNets, processors
from maskanim.runtime.verification import animate_pair, kept, limits
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName

LOG = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "int8"]
Precisions = dict[NetworkName, Precision]
Open = Callable[[NetworkName, Precision], Session]
TOLD: dict[Precision, str] = {"int8": "INT8", "bf16": "BF16", "fp32": "FP32"}

LIMIT_VARIABLE = "ONEDNN_MAX_CPU_ISA"  # makes OpenVINO treat a processor as an older one
RUNS, SECONDS = 10, 0.08  # of a candidate, whichever ends first; the first run, which warms up, is rarely the fastest
HEAVY = ("h", "l")  # have nearly all of the work, and are always measured
BUDGET = 1.5  # seconds of runs, after which the others stay as usual; full-size ones reach it on small processors
TRIED = 4  # sets of networks whose frames are looked at before INT8 is given up; a look takes two or three frames' time
GAIN = 0.9  # of the usual precision's time is the most that another may take, so that noise decides nothing


class Library(NamedTuple):
    """What runs networks.

    Attributes:
        name: with its version and the processor as it sees it.
        usual: each network's precision where nothing speaks for INT8.
        open_network: loads one in a precision.
    """

    name: str
    usual: Precisions
    open_network: Open


def open_in_best(bundle: Bundle, library: Library, least_psnr: float) -> tuple[dict[NetworkName, Session], str]:
    """Load a bundle's networks, each in the precision that is best here.

    Args:
        bundle: whose manifest says which sets of networks keep how much in INT8; without that all run as usual.
        library: what runs them.
        least_psnr: what the final frame has to keep against float32, in dB.

    Returns:
        The sessions, and a line on their precisions.

    Raises:
        MaskanimError: a network cannot be loaded as usual.
    """
    int8 = bundle.manifest.int8
    allowed = [names for names, psnr in int8.frame_psnr.items() if psnr >= least_psnr] if int8 else []
    if not allowed:
        return _open_all(library, library.usual), _told(library.usual)
    file = home() / "measured" / f"{_key(bundle, library, least_psnr)}.json"
    found = kept(file, TypeAdapter(Precisions))
    if found is not None:
        with suppress(MaskanimError):  # else something has changed since, and it is measured anew
            return _open_all(library, found), f"{_told(found)}, as measured here"
    sessions, chosen = _measured(bundle, library, allowed, least_psnr)
    keep(file, chosen)
    return sessions, f"{_told(chosen)}, as measured here"


def int8_network(bundle: Bundle, name: NetworkName) -> bytes:
    """A network's ONNX file in INT8; a MissingPackageError without onnx."""
    assert bundle.manifest.int8
    return to_int8(bundle.network(name).read_bytes(), bundle.manifest.int8.ranges[name])


def _open_all(library: Library, precisions: Mapping[NetworkName, Precision]) -> dict[NetworkName, Session]:
    with ThreadPoolExecutor(len(NETWORKS)) as threads:  # loading uses one core each
        opening = {name: threads.submit(library.open_network, name, precisions[name]) for name in NETWORK_NAMES}
        return {name: opened.result() for name, opened in opening.items()}


def _told(precisions: Mapping[NetworkName, Precision]) -> str:
    """``FP32``, or ``r and l and h in INT8``, without what is in FP32."""
    reduced = {kind: [name for name in NETWORK_NAMES if precisions[name] == kind] for kind in TOLD if kind != "fp32"}
    return ", ".join(f"{' and '.join(names)} in {TOLD[kind]}" for kind, names in reduced.items() if names) or "FP32"


def _measured(
    bundle: Bundle, library: Library, allowed: Sequence[str], least_psnr: float
) -> tuple[dict[NetworkName, Session], Precisions]:
    """The sessions of what is best, and their precisions; those of the others are closed."""
    opened = _open_candidates(library, {n for n in NETWORK_NAMES if n in "".join(allowed)})
    times = _times(opened)
    for name, found in times.items():
        told = ", ".join(f"{TOLD[kind]} {1000 * spent:.1f} ms" for kind, spent in found.items())
        LOG.info("measured: network %s in %s", name, told or "its usual precision alone")
    for chosen in _fastest_first(library.usual, times, allowed):
        rounded = [name for name, kind in chosen.items() if kind == "int8"]
        if not rounded or _keeps(bundle, {n: opened[n][chosen[n]] for n in NETWORK_NAMES}, least_psnr):
            break
        names = " and ".join(rounded)
        LOG.info("note: with %s in INT8 this processor does not give the golden frames to %g dB", names, least_psnr)
    sessions = {name: opened[name].pop(kind) for name, kind in chosen.items()}
    for session in (session for others in opened.values() for session in others.values()):
        session.close()
    return sessions, chosen


def _open_candidates(library: Library, rounded: set[NetworkName]) -> dict[NetworkName, dict[Precision, Session]]:
    """Each network as usual, in FP32, and where it is allowed in INT8; what does not load but as usual is left out."""
    wanted: dict[NetworkName, tuple[Precision, ...]] = {
        name: (library.usual[name], "fp32", *(("int8",) if name in rounded else ())) for name in NETWORK_NAMES
    }
    each = [(name, kind) for name, kinds in wanted.items() for kind in dict.fromkeys(kinds)]
    with ThreadPoolExecutor(len(NETWORKS)) as threads:
        opening = {pair: threads.submit(library.open_network, *pair) for pair in each}
    found: dict[NetworkName, dict[Precision, Session]] = {name: {} for name in NETWORK_NAMES}
    for (name, kind), candidate in opening.items():
        try:
            found[name][kind] = candidate.result()
        except MaskanimError:
            if kind == library.usual[name]:
                raise
    return found


def _times(opened: Mapping[NetworkName, Mapping[Precision, Session]]) -> dict[NetworkName, dict[Precision, float]]:
    """Seconds of a run, the networks with the most work first."""
    began = perf_counter()
    found: dict[NetworkName, dict[Precision, float]] = {name: {} for name in NETWORK_NAMES}
    for name in reversed(NETWORK_NAMES):
        if len(opened[name]) > 1 and (name in HEAVY or perf_counter() - began < BUDGET):
            found[name] = _in_turns(name, opened[name])
    return found


def _in_turns(name: NetworkName, sessions: Mapping[Precision, Session]) -> dict[Precision, float]:
    """The fastest run of each, whoever else uses the processor, which only adds to them; what fails is left out."""
    inputs = [np.full(tensor.shape(1), 0.5, np.float32) for tensor in NETWORKS[name].inputs]
    times: dict[Precision, list[float]] = {kind: [] for kind in sessions}
    for _ in range(RUNS):
        if all(sum(spent) > SECONDS for spent in times.values()):
            break
        for kind in [*times]:
            began = perf_counter()
            try:
                sessions[kind].run(*inputs)
            except MaskanimError:
                del times[kind]
            else:
                times[kind].append(perf_counter() - began)
    return {kind: min(spent) for kind, spent in times.items()}


def _fastest_first(
    usual: Precisions, times: Mapping[NetworkName, Mapping[Precision, float]], allowed: Sequence[str]
) -> list[Precisions]:
    """The usual precisions, but for what gains: FP32 for each network by itself, INT8 for one of the sets allowed.

    The sets that gain, by how much; the last choice has no network in INT8.
    """
    chosen = dict(usual)
    for name, found in times.items():
        if found.get("fp32", math.inf) < GAIN * found.get(usual[name], math.inf):
            chosen[name] = "fp32"

    def gain(name: NetworkName) -> float:
        found = times[name]
        before, after = found.get(chosen[name], 0.0), found.get("int8", math.inf)
        return before - after if after < GAIN * before else -math.inf

    gains = {name: gain(name) for name in NETWORK_NAMES}
    of_sets = {names: sum(gains[n] for n in NETWORK_NAMES if n in names) for names in allowed}
    gaining = [names for names, gained in of_sets.items() if gained > -math.inf]
    ranked = sorted(gaining, key=lambda names: of_sets[names], reverse=True)
    int8: Precision = "int8"
    return [chosen | {name: int8 for name in NETWORK_NAMES if name in names} for names in [*ranked[:TRIED], ""]]


def _keeps(bundle: Bundle, sessions: Mapping[NetworkName, Session], least_psnr: float) -> bool:
    """Whether the golden pairs come out near enough."""
    if not (pairs := read_golden(bundle)):
        return True
    runner = HostRunner(SessionNets(sessions), bundle.manifest.model.perturbation)
    found = agreement(pairs, lambda source, driving: animate_pair(runner, source, driving))
    return all(found[name] >= limit for name, limit in limits(least_psnr).items())


def _key(bundle: Bundle, library: Library, least_psnr: float) -> str:
    manifest, int8 = bundle.manifest, bundle.manifest.int8
    networks = [manifest.networks[name].sha256 for name in NETWORK_NAMES]
    told = [__version__, library.name, library.usual, networks, int8 and int8.model_dump(mode="json"), least_psnr]
    machine = [platform.machine(), processors(), os.environ.get(LIMIT_VARIABLE)]
    return hashlib.sha256(json.dumps([told, machine]).encode()).hexdigest()[:16]
