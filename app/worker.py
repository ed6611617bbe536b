"""The one model that is loaded, and the one thread that may use it, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar

from maskanim.bundle import MANIFEST
from maskanim.closing import Closing
from maskanim.errors import MaskanimError
from maskanim.models import DEMO, choose, home
from maskanim.ops import Frame
from maskanim.runtime.animator import Animator
from maskanim.runtime.backends import AUTO, BACKENDS
from maskanim.runtime.live.metrics import Metrics

T = TypeVar("T")

Open = Callable[[str | Path, str], Animator]


class CancelledError(Exception):
    """Nobody waits for the work any more, or the page ends."""


class LoadedModel:
    """An open model, and the source it encoded last: a camera's frames all want the same one.

    Attributes:
        animator: the model.
        stopping: set when the worker closes; work that takes long looks at it.
    """

    def __init__(self, animator: Animator, stopping: Event) -> None:
        self.animator, self.stopping = animator, stopping
        self._key: object = None
        self._source: Any = None

    def source(self, key: object, image: Callable[[], Frame]) -> Any:
        """The encoded source of a picture; the picture is only read if it is another one than before.

        Args:
            key: what is the same for the same picture.
            image: gives it, (H, W, 3) uint8 RGB.
        """
        if self._key is None or key != self._key:
            encoded, before = self.animator.encode_source(image()), self._source
            self._source, self._key = encoded, key
            if hasattr(before, "close"):  # on a GPU it has memory there
                before.close()
        return self._source


class ModelWorker(Closing):
    """Runs work with a model, in order, in one thread; a context manager.

    An engine on a GPU belongs to the thread that opened it, and two models may not fit into memory: so there is one of
    each, shared by all visitors. Asking for another model or engine closes the one before.

    Attributes:
        metrics: what is done here, for Prometheus.
    """

    def __init__(self, open_model: Open = Animator.open) -> None:
        self._open_model, self.metrics = open_model, Metrics()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="maskanim-worker")
        self._key: tuple[str | Path, str] | None = None
        self._loaded: LoadedModel | None = None
        self._asked, self._asking, self._stopping = set[Future[Any]](), Lock(), Event()

    @property
    def waiting(self) -> int:
        """How much work is being done or waits."""
        return len(self._asked)

    def submit(self, model: str | Path, engine: str, work: Callable[[LoadedModel], T]) -> Future[T]:
        """Queue work.

        Args:
            model: as for `Animator.open`.
            engine: as for `Animator.open`.

        Returns:
            Its future; it holds a MaskanimError where the model cannot be opened.
        """
        future = self._thread.submit(lambda: work(self._load(model, engine)))
        with self._asking:
            self._asked.add(future)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: Future[Any]) -> None:
        self._asked.discard(future)
        if not future.cancelled() and future.exception() and not isinstance(future.exception(), CancelledError):
            self.metrics.errors.inc()

    def _load(self, model: str | Path, engine: str) -> LoadedModel:
        if self._loaded is None or self._key != (model, engine):
            self._unload()
            animator = self._open_model(model, engine)
            self._loaded, self._key = LoadedModel(animator, self._stopping), (model, engine)
            self.metrics.runs(animator)
        return self._loaded

    def _unload(self) -> None:
        if self._loaded:
            self._loaded.animator.close()
        self._loaded = self._key = None

    def close(self) -> None:
        """Stop the work that is being done, drop what waits, close the model. Again does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        with self._asking:
            waiting = list(self._asked)
        for future in waiting:
            future.cancel()
        self._thread.submit(self._unload)
        self._thread.shutdown()


def engines() -> list[str]:
    """The engines whose packages are installed here, ``auto`` first."""
    return [AUTO, *(name for name, engine in BACKENDS.items() if find_spec(engine.package))]


def models(folder: Path | None = None) -> dict[str, str | Path]:
    """The models to choose from, by what they are called on the page.

    Args:
        folder: bundles are looked for in it; None means ``models`` in maskanim's folder.

    Returns:
        The one exported last, if any, those in the folder, and the demo.

    Raises:
        MaskanimError: the folder that was given has none.
    """
    found: dict[str, str | Path] = {}
    with suppress(MaskanimError):  # gone or damaged: the others can still be chosen
        current = choose(None).bundle
        if current.path != DEMO / "bundle":
            found[f"{current.manifest.name} (exported last)"] = current.path
    listed = sorted((folder or home() / "models").glob(f"*/{MANIFEST}"))
    if folder and not listed:
        raise MaskanimError(f"--models {folder}", "no bundle in it", "a folder with bundles in it")
    return found | {bundle.parent.name: bundle.parent for bundle in listed} | {"demo": "demo"}
