"""Engines on disk: found and verified, or built and kept.

A serialized engine is a file such as ``m.plan``, as TensorRT calls it. The files lie in a bundle's folder ``plans``,
one folder for each key; where the bundle cannot be written, or is the embedded demo, in the user's own folder, under
the hash of the bundle's networks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from pydantic import ValidationError

from maskanim.atomic import replace_folder, sibling_folder
from maskanim.bundle import PLANS, Bundle
from maskanim.errors import MaskanimError
from maskanim.models import DEMO, home
from maskanim.progress import NO_PROGRESS, Progress
from maskanim.spec import NETWORK_NAMES, NetworkName
from maskanim.trt.builder import build_engine
from maskanim.trt.graphs import engine_graph, require_precision, source_hash
from maskanim.trt.libraries import LIBRARIES, LoadedLibrary
from maskanim.trt.records import (
    BatchRange,
    BuildOptions,
    EngineFile,
    EngineKey,
    EngineRequest,
    EngineSet,
    Target,
    engine_key,
    mismatches,
    own_targets,
)

RECORD = "plans.json"
TIMINGS = "timings"  # in the user's own folder: what TensorRT measured on a GPU holds for every model

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredEngines:
    """Verified engines of one bundle."""

    folder: Path  # where they lie
    record: EngineSet  # what they are
    contents: dict[NetworkName, bytes]  # the serialized engines


def find_engines(bundle: Bundle, request: EngineRequest) -> StoredEngines | str:
    """Find the bundle's engines that fit a request best, and verify every byte of them.

    Returns:
        The engines; or why none can be run, e.g. ``the plans in ... are built for sm86, and this GPU is sm89``. Nothing
        is raised for files that are old, foreign or damaged.
    """
    candidates: list[tuple[tuple[int, ...], Path, EngineSet | None, list[str]]] = []
    for folder in (folder for place in _places(bundle) for folder in sorted(place.glob(f"{request.library}-*/"))):
        record = _record(folder)
        if record is None:
            candidates.append(((100,), folder, record, [f"without a readable {RECORD}"]))
            continue
        problems, options = [*mismatches(record.key, request), *_stale(record, bundle)], record.key.options
        portable = record.key.gpu is None and not options.targets
        # Among those that fit: for this very architecture, with more effort, for a narrower batch.
        rank = len(problems), portable, -options.opt_level, options.batch.maximum
        candidates.append((rank, folder, record, problems))
    if not candidates:
        return f"the model has no plans for {LIBRARIES[request.library].title} yet"
    candidates.sort(key=lambda candidate: candidate[0])
    damage: list[str] = []
    for _, folder, record, problems in candidates:
        if record is not None and not problems:
            found = _loaded(folder, record)
            if isinstance(found, StoredEngines):
                return found
            damage.append(found)
    return (damage or [f"the plans in {candidates[0][1]} are {candidates[0][3][0]}"])[0]


def find_or_build(
    bundle: Bundle, library: LoadedLibrary, request: EngineRequest, progress: Progress = NO_PROGRESS
) -> StoredEngines:
    """The bundle's engines for a run on this machine; where none fit, log why, build them here and keep them.

    Args:
        library: of the request's name and version.
        request: what will run; what is built takes its batches only, and is fastest at the largest.
        progress: as in `build_engines`.

    Raises:
        MaskanimError: the library does not support the GPU, or cannot build.
    """
    found = find_engines(bundle, request)
    if isinstance(found, StoredEngines):
        return found
    LOG.info("note: %s; building them here", found)
    smallest, largest = request.batches
    batch = BatchRange(minimum=smallest, optimum=largest, maximum=largest)
    options = BuildOptions(precision=request.precision, batch=batch, targets=own_targets(library, request.gpu))
    return build_engines(bundle, library, options, request.gpu, progress)


def build_engines(
    bundle: Bundle,
    library: LoadedLibrary,
    options: BuildOptions,
    gpu: Target | None = None,
    progress: Progress = NO_PROGRESS,
    timing_cache: Path | None = None,
) -> StoredEngines:
    """Build the bundle's four engines and keep them beside those of other keys; or reuse them, if they are there.

    Args:
        gpu: that they are built on; TensorRT needs one, TensorRT-RTX does not.
        progress: in percent, over all four; called from the library's threads.
        timing_cache: what TensorRT measured on this kind of GPU before, and what it measures now. None: one in the
            user's own folder.

    Raises:
        MaskanimError: the library cannot build here, or not one of these networks; nothing is kept then.
    """
    if gpu is None and not library.known.builds_without_gpu:
        title = library.known.title
        raise MaskanimError(f"--engine {library.known.name}", "no GPU", f"the one that {title} shall build for")
    require_precision(bundle.manifest, options.precision)
    key = engine_key(library, options, gpu)
    reused = _reused(bundle, key)
    if reused is not None:
        return reused
    folder = _writable_place(bundle) / key.folder
    with sibling_folder(folder) as partial:
        networks = {
            name: _built(bundle, name, library, key, partial, _Quarter(progress, i), timing_cache or _timings(key))
            for i, name in enumerate(NETWORK_NAMES)
        }
        record = EngineSet(key=key, platform=f"{platform.system()} {platform.machine()}", networks=networks)
        (partial / RECORD).write_text(record.model_dump_json(indent=2) + "\n", "utf-8")
        replace_folder(partial, folder)
    built = _loaded(folder, record)
    if isinstance(built, str):
        raise MaskanimError(f"plans {folder}", built, "what was written there", "Is the disk full?")
    return built


class _Quarter(NamedTuple):
    """The progress of one network's build as a part of all four's."""

    whole: Progress
    network: int

    def update(self, done: int, total: int | None, note: str = "") -> None:
        self.whole.update(
            (100 * self.network + done) // len(NETWORK_NAMES), 100, f"{NETWORK_NAMES[self.network]}: {note}"
        )


def _stale(record: EngineSet, bundle: Bundle) -> list[str]:
    sources = bundle.manifest.networks
    now = {name: source_hash(bundle.manifest, name, record.key.options.precision) for name in NETWORK_NAMES}
    changed = [name for name in NETWORK_NAMES if record.networks[name].source_sha256 != now[name]]
    return [f"built from another {', '.join(sources[name].file for name in changed)}"] if changed else []


def _record(folder: Path) -> EngineSet | None:
    try:
        record = EngineSet.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
    return record if set(record.networks) == set(NETWORK_NAMES) else None


def _loaded(folder: Path, record: EngineSet) -> StoredEngines | str:
    """The engines of a folder, or what is wrong with the first plan that is not as its record says."""
    contents: dict[NetworkName, bytes] = {}
    for name, entry in record.networks.items():
        path = folder / entry.file
        try:
            contents[name] = path.read_bytes()
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        if hashlib.sha256(contents[name]).hexdigest() != entry.sha256:
            return f"{path} changed since it was built"
    return StoredEngines(folder, record, contents)


def _reused(bundle: Bundle, key: EngineKey) -> StoredEngines | None:
    """Engines of exactly this key that are whole; why others are not used is logged."""
    for folder in (place / key.folder for place in _places(bundle) if (place / key.folder).is_dir()):
        record = _record(folder)
        if record is None:
            found: StoredEngines | str = f"{folder} has no readable {RECORD}"
        elif record.key != key or _stale(record, bundle):
            found = f"the plans in {folder} are of another model or maskanim"
        else:
            found = _loaded(folder, record)
        if isinstance(found, StoredEngines):
            LOG.info("note: the plans in %s fit and are used again", folder)
            return found
        LOG.info("note: %s; building again", found)
    return None


def _built(
    bundle: Bundle,
    name: NetworkName,
    library: LoadedLibrary,
    key: EngineKey,
    folder: Path,
    progress: Progress,
    timing_cache: Path | None,
) -> EngineFile:
    """Build one engine into a folder."""
    options, began = key.options, perf_counter()
    LOG.info("building %s.plan: %s, %s, batch %s", name, library.full_name, options.precision, options.batch)
    content = engine_graph(bundle, name, options.precision, key.library)
    engine = build_engine(library, content, name, options, progress=progress, timing_cache=timing_cache)
    progress.update(100, 100, "built")
    (folder / f"{name}.plan").write_bytes(engine.content)
    return EngineFile(
        file=f"{name}.plan",
        sha256=hashlib.sha256(engine.content).hexdigest(),
        size=len(engine.content),
        source_sha256=source_hash(bundle.manifest, name, options.precision),
        inputs=engine.inputs,
        output=engine.output,
        seconds=round(perf_counter() - began, 2),
    )


def _timings(key: EngineKey) -> Path | None:
    """TensorRT's measurements on one GPU by one version."""
    if key.gpu is None:
        return None
    same_gpu = EngineKey(library=key.library, version=key.version, gpu=key.gpu, options=BuildOptions())
    return home() / TIMINGS / f"{same_gpu.folder}.cache"


def _places(bundle: Bundle) -> tuple[Path, Path]:
    """Beside the networks, and in the user's own folder."""
    hashes = json.dumps([bundle.manifest.networks[name].sha256 for name in NETWORK_NAMES])
    return bundle.path / PLANS, home() / PLANS / hashlib.sha256(hashes.encode()).hexdigest()[:16]


def _writable_place(bundle: Bundle) -> Path:
    """Where engines are kept. The embedded demo is part of the installed package: nothing is added there."""
    beside, own = _places(bundle)
    of_package = bundle.path.resolve().is_relative_to(DEMO.resolve())
    for place in (own,) if of_package else (beside, own):
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            with sibling_folder(place / "new"):
                return place
    told = f"neither {beside} nor {own} can be written"
    raise MaskanimError("plans", told, "a folder for them", "Set MASKANIM_HOME to a folder that can be written")
