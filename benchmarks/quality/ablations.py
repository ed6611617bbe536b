"""The ablation table on held-out puppets: the paper's Table 5 (test time) and Table 7 (training time) in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from maskanim import pipeline
from maskanim.ablations import FULL, TEST_TIME, TRAINING_TIME, AblatedNets, AblatedOps, Ablation
from maskanim.benchmarks.quality.puppets import Animates, Figures, reconstruct, transfer
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame, postprocess, preprocess
from maskanim.runtime.animator import Animator
from maskanim.runtime.backends import AUTO, BACKENDS
from maskanim.runtime.sessions.host import HostRunner

# On a GPU the steps are one captured graph, out of which none can be left.
HOST_ENGINES = tuple(name for name, backend in BACKENDS.items() if not backend.gpu)


@dataclass(frozen=True)
class Row:
    """One variant."""

    # name, meaning: its name, in the paper where it has one there, and what it is
    name: str
    meaning: str
    model: str | None = None  # the name of the bundle; None where none was given, and nothing was measured
    # reconstruction, transfer: see `puppets.Figures`
    reconstruction: Figures | None = None
    transfer: Figures | None = None

    def as_dict(self) -> dict[str, Any]:
        measured = {name: (each := getattr(self, name)) and each.as_dict() for name in ("reconstruction", "transfer")}
        return {"name": self.name, "told": self.meaning, "model": self.model} | measured


class AblatedAnimator:
    """A variant of a model at test time: `pipeline` on the runner's networks and operations, wrapped."""

    def __init__(self, runner: HostRunner, ablation: Ablation) -> None:
        self.nets: AblatedNets[Array] = AblatedNets(runner.nets, ablation)
        self.ops: AblatedOps[Array] = AblatedOps(runner.ops, ablation)

    def encode_source(self, image: Frame) -> Any:
        return pipeline.encode_source(self.nets, self.ops, preprocess(image))

    def animate(self, source: Any, frame: Frame) -> Frame:
        return postprocess(pipeline.animate_frame(self.nets, self.ops, source, preprocess(frame)).frame)


@contextmanager
def open_models(model: str | None, also: Mapping[str, str], engine: str = AUTO) -> Iterator[dict[str, Animator]]:
    """The models of a table by the names of their rows; the model itself under FULL.

    Args:
        model: as `Animator.open` takes it; the test-time variants are made of it.
        engine: one of HOST_ENGINES, or `auto` for the first of them that works.
    """
    with ExitStack() as opened:
        paths = {FULL: model} | {**also}
        yield {name: opened.enter_context(open_on_processor(path, engine)) for name, path in paths.items()}


def measure_ablations(
    models: Mapping[str, Animator],
    identities: int,
    frames: int,
    driving: int,
    track: Callable[[str, range], Iterable[int]] = lambda name, numbers: numbers,
) -> tuple[list[Row], dict[str, Figures]]:
    """The rows, and the references of `transfer`.

    Args:
        frames: of each clip that is rebuilt.
        driving: frames of each driver.
        track: shows progress: given a name and numbers, it gives the numbers back.
    """
    runner = models[FULL].runner
    assert isinstance(runner, HostRunner)  # of every engine in HOST_ENGINES
    variants: dict[str, Animates] = {name: AblatedAnimator(runner, each) for name, each in TEST_TIME.items()}
    animators = {**models, **variants}
    rebuilt = reconstruct(animators, track("rebuilding", range(identities)), frames)
    moved = transfer(animators, track("animating", range(identities)), driving, references=True)
    meanings = {name: each.told for name, each in TEST_TIME.items()} | TRAINING_TIME
    rows = []
    for name in dict.fromkeys((*meanings, *models)):
        used = models.get(name, models[FULL] if name in TEST_TIME else None)
        told, of = meanings.get(name, "another model"), used.model.manifest.name if used else None
        rows.append(Row(name, told, of, rebuilt.get(name), moved.get(name)))
    return rows, {name: figures for name, figures in moved.items() if name not in animators}


def open_on_processor(model: str | None, engine: str) -> Animator:
    """An animator whose runner is a HostRunner.

    Raises:
        MaskanimError: the engine is none of HOST_ENGINES, or none of them works.
    """
    if engine not in (AUTO, *HOST_ENGINES):
        raise MaskanimError(f"engine {engine}", "no step can be left out on it", f"one of {', '.join(HOST_ENGINES)}")
    names = HOST_ENGINES if engine == AUTO else (engine,)
    for name in names[:-1]:
        with suppress(MaskanimError):
            return Animator.open(model, name)
    return Animator.open(model, names[-1])


def named_bundles(also: Iterable[str]) -> dict[str, str]:
    """NAME=BUNDLE to a dict.

    Raises:
        MaskanimError: one is not of that form, or its name is taken.
    """
    bundles: dict[str, str] = {}
    for text in also:
        name, _, path = text.partition("=")
        if not name or not path:
            expected = "NAME=BUNDLE such as h_update_l=runs/l.bundle"
            raise MaskanimError(f"--also {text}", "not a name and a bundle", expected)
        if name in TEST_TIME or name in bundles:
            raise MaskanimError(f"--also {text}", f"the row {name} is taken", f"such as {', '.join(TRAINING_TIME)}")
        bundles[name] = path
    return bundles
