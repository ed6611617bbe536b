"""Plans on disk: found and verified, or built and kept.

They lie in a bundle's folder ``plans``, one folder for each key; where the bundle cannot be written, or is the embedded
demo, in the user's own folder, under the hash of the bundle's networks.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from pydantic import ValidationError

from maskanim.bundle import PLANS, Bundle
from maskanim.errors import MaskanimError
from maskanim.folders import replace_folder, sibling_folder
from maskanim.models import DEMO, home
from maskanim.plans.builder import BuiltPlan, build_plan
from maskanim.plans.callbacks import Progress
from maskanim.plans.half import require_half, to_half
from maskanim.plans.libraries import LIBRARIES, LibraryName, LoadedLibrary
from maskanim.plans.options import BatchRange, BuildOptions, Target, own_targets
from maskanim.plans.records import PlanFile, PlanKey, PlanRequest, PlanSet, mismatches, plan_key
from maskanim.spec import NETWORK_NAMES, NetworkName

RECORD = "plans.json"
TIMINGS = "timings"  # in the user's own folder: what TensorRT measured on a GPU holds for every model

Report = Callable[[str], object]


@dataclass(frozen=True)
class Plans:
    """Verified plans of one bundle.

    Attributes:
        folder: where they lie.
        record: what they are.
        contents: the plans themselves.
    """

    folder: Path
    record: PlanSet
    contents: dict[NetworkName, bytes]


@dataclass(frozen=True)
class NoPlans:
    """Why there are no plans to run.

    Attributes:
        reason: a clause, e.g. ``the plans in ... are built for sm86, and this GPU is sm89``.
        command: what builds them.
    """

    reason: str
    command: str

    def error(self, library: LibraryName) -> MaskanimError:
        """The reason as an error."""
        received, wanted = self.reason, "plans that fit"
        return MaskanimError(f"--engine {library}", received, wanted, f"Build them with: {self.command}")


def find_plans(bundle: Bundle, request: PlanRequest) -> Plans | NoPlans:
    """Find the bundle's plans that fit a request best, and verify every byte of them.

    Returns:
        The plans, or why none can be run. Nothing is raised for plans that are old, foreign or damaged.
    """
    command = f"maskanim-run --engine {request.library} --model {shlex.quote(str(bundle.path))}"
    examined = [_examined(folder, bundle, request) for folder in _folders(bundle, request.library)]
    if not examined:
        return NoPlans(f"the model has no plans for {LIBRARIES[request.library].title} yet", command)
    examined.sort(key=lambda entry: entry.rank)
    damage = []
    for entry in examined:
        if entry.record is not None and entry.problem is None:
            contents = _contents(entry.folder, entry.record)
            if not isinstance(contents, str):
                return Plans(entry.folder, entry.record, contents)
            damage.append(contents)
    return NoPlans((damage or [f"the plans in {examined[0].folder} are {examined[0].problem}"])[0], command)


def find_or_build(
    bundle: Bundle,
    library: LoadedLibrary,
    request: PlanRequest,
    *,
    report: Report = lambda message: None,
    progress: Progress = lambda part, phase: None,
) -> Plans:
    """The bundle's plans for a run on this machine; where none fit, say why, build them here and keep them.

    Args:
        bundle: whose networks.
        library: of the request's name and version.
        request: what will run; what is built takes its batches only, and is fastest at the largest.
        report, progress: as in `build_plans`.

    Raises:
        MaskanimError: the library does not support the GPU, or cannot build.
    """
    found = find_plans(bundle, request)
    if isinstance(found, Plans):
        return found
    report(f"note: {found.reason}; building them here")
    smallest, largest = request.batches
    batch = BatchRange(minimum=smallest, optimum=largest, maximum=largest)
    options = BuildOptions(precision=request.precision, batch=batch, targets=own_targets(library, request.gpu))
    return build_plans(bundle, library, options, request.gpu, report=report, progress=progress)


def build_plans(
    bundle: Bundle,
    library: LoadedLibrary,
    options: BuildOptions,
    gpu: Target | None = None,
    *,
    report: Report = lambda message: None,
    progress: Progress = lambda part, phase: None,
) -> Plans:
    """Build the bundle's four plans and keep them beside those of other keys; or reuse them, if they are there.

    Args:
        bundle: whose networks.
        library: that builds.
        options: how.
        gpu: that they are built on; TensorRT needs one, TensorRT-RTX does not.
        report: called with a line of text as each step begins.
        progress: see `build_plan`; over all four.

    Raises:
        MaskanimError: the library cannot build here, or not one of these networks; nothing is kept then.
    """
    if gpu is None and not library.known.builds_without_gpu:
        title = library.known.title
        raise MaskanimError(f"--engine {library.known.name}", "no GPU", f"the one that {title} shall build for")
    if options.precision == "fp16":
        require_half(bundle.manifest)
    key = plan_key(library, options, gpu)
    reused = _reused(bundle, key, report)
    if reused is not None:
        return reused
    folder = _writable_place(bundle) / key.folder
    with sibling_folder(folder) as partial:
        networks = {name: _built(bundle, name, library, key, partial, report, progress) for name in NETWORK_NAMES}
        record = PlanSet(key=key, platform=f"{platform.system()} {platform.machine()}", networks=networks)
        (partial / RECORD).write_text(record.model_dump_json(indent=2) + "\n", "utf-8")
        replace_folder(partial, folder)
    contents = _contents(folder, record)
    if isinstance(contents, str):
        raise MaskanimError(f"plans {folder}", contents, "what was written there", "Is the disk full?")
    return Plans(folder, record, contents)


class _Examined(NamedTuple):
    folder: Path
    record: PlanSet | None
    problem: str | None
    rank: tuple[int, ...]  # the lowest is taken, or its problem told


def _examined(folder: Path, bundle: Bundle, request: PlanRequest) -> _Examined:
    record = _record(folder)
    if record is None:
        return _Examined(folder, None, f"without a readable {RECORD}", (100,))
    problems = [*mismatches(record.key, request), *_stale(record, bundle)]
    options = record.key.options
    # Among those that fit: for this very architecture, with more effort, for a narrower batch.
    rank = (len(problems), record.key.gpu is None and not options.targets, -options.opt_level, options.batch.maximum)
    return _Examined(folder, record, problems[0] if problems else None, rank)


def _stale(record: PlanSet, bundle: Bundle) -> list[str]:
    sources = bundle.manifest.networks
    changed = [name for name in NETWORK_NAMES if record.networks[name].source_sha256 != sources[name].sha256]
    return [f"built from another {', '.join(sources[name].file for name in changed)}"] if changed else []


def _record(folder: Path) -> PlanSet | None:
    try:
        record = PlanSet.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
    return record if set(record.networks) == set(NETWORK_NAMES) else None


def _contents(folder: Path, record: PlanSet) -> dict[NetworkName, bytes] | str:
    """The plans, or what is wrong with the first of them that is not as its record says."""
    contents: dict[NetworkName, bytes] = {}
    for name, entry in record.networks.items():
        path = folder / entry.file
        try:
            contents[name] = path.read_bytes()
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"
        if hashlib.sha256(contents[name]).hexdigest() != entry.sha256:
            return f"{path} changed since it was built"
    return contents


def _reused(bundle: Bundle, key: PlanKey, report: Report) -> Plans | None:
    """Plans of exactly this key that are whole; why others are not used is reported."""
    for place in _places(bundle):
        folder = place / key.folder
        record = _record(folder)
        if record is None:
            problem = f"{folder} has no readable {RECORD}" if folder.is_dir() else None
        elif record.key != key or _stale(record, bundle):
            problem = f"the plans in {folder} are of another model or maskanim"
        else:
            contents = _contents(folder, record)
            if not isinstance(contents, str):
                report(f"note: the plans in {folder} fit and are used again")
                return Plans(folder, record, contents)
            problem = contents
        if problem:
            report(f"note: {problem}; building again")
    return None


def _built(
    bundle: Bundle,
    name: NetworkName,
    library: LoadedLibrary,
    key: PlanKey,
    folder: Path,
    report: Report,
    progress: Progress,
) -> PlanFile:
    """Build one plan into a folder."""
    report(f"building {name}.plan: {library.told}, {key.options.precision}, batch {key.options.batch}")
    began, done = perf_counter(), NETWORK_NAMES.index(name)

    def of_all(part: float, phase: str) -> None:
        progress((done + part) / len(NETWORK_NAMES), f"{name}: {phase}")

    content = bundle.network(name).read_bytes()
    if key.options.precision == "fp16":
        content = to_half(content, name, extra=key.library)
    plan = build_plan(library, content, name, key.options, progress=of_all, timing_cache=_timings(key))
    of_all(1.0, "built")
    (folder / f"{name}.plan").write_bytes(plan.content)
    return _entry(bundle, name, plan, perf_counter() - began)


def _entry(bundle: Bundle, name: NetworkName, plan: BuiltPlan, seconds: float) -> PlanFile:
    return PlanFile(
        file=f"{name}.plan",
        sha256=hashlib.sha256(plan.content).hexdigest(),
        size=len(plan.content),
        source_sha256=bundle.manifest.networks[name].sha256,
        inputs=plan.inputs,
        output=plan.output,
        seconds=round(seconds, 2),
    )


def _timings(key: PlanKey) -> Path | None:
    """TensorRT's measurements on one GPU by one version."""
    if key.gpu is None:
        return None
    same_gpu = PlanKey(library=key.library, version=key.version, gpu=key.gpu, options=BuildOptions())
    return home() / TIMINGS / f"{same_gpu.folder}.cache"


def _places(bundle: Bundle) -> tuple[Path, Path]:
    """Beside the networks, and in the user's own folder."""
    hashes = json.dumps([bundle.manifest.networks[name].sha256 for name in NETWORK_NAMES])
    return bundle.path / PLANS, home() / PLANS / hashlib.sha256(hashes.encode()).hexdigest()[:16]


def _folders(bundle: Bundle, library: LibraryName) -> Iterator[Path]:
    """The folders of all plans that one library built."""
    for place in _places(bundle):
        yield from sorted(place.glob(f"{library}-*/"))


def _writable_place(bundle: Bundle) -> Path:
    """Where plans are kept. The embedded demo is part of the installed package: nothing is added there."""
    beside, own = _places(bundle)
    if not bundle.path.resolve().is_relative_to(DEMO.resolve()) and _is_writable(beside):
        return beside
    if _is_writable(own):
        return own
    told = f"neither {beside} nor {own} can be written"
    raise MaskanimError("plans", told, "a folder for them", "Set MASKANIM_HOME to a folder that can be written")


def _is_writable(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with sibling_folder(place / "new"):
            return True
    except OSError:
        return False
