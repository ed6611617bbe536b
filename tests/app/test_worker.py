"""One model at a time, one thread, in order."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maskanim import models as chosen
from maskanim.app.worker import LoadedModel, ModelWorker, engines, models
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.models import DEMO, demo_bundle, register


class Encoded:
    """Stands for a source on a GPU."""

    def __init__(self, image: object) -> None:
        self.image, self.closed = image, False

    def close(self) -> None:
        self.closed = True


class Opened:
    """Stands for an open model; remembers what was done to it and where."""

    def __init__(self, model: object, engine: str) -> None:
        if model == "broken":
            raise MaskanimError("model broken", "damaged", "a whole one")
        self.engine = SimpleNamespace(name=engine, detail="a stand-in")
        self.model = SimpleNamespace(manifest=SimpleNamespace(name=model))
        self.threads = {threading.current_thread().name}
        self.sources: list[object] = []
        self.closed = False
        OPENED.append(self)

    def encode_source(self, image: object) -> object:
        self.sources.append(image)
        return Encoded(image)

    def close(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.closed = True


OPENED: list[Opened] = []


@pytest.fixture
def worker() -> Iterator[ModelWorker]:
    OPENED.clear()
    opener: Any = Opened
    with ModelWorker(opener) as worker:
        yield worker


def test_one_model_is_shared_until_another_is_asked_for(worker: ModelWorker) -> None:
    seen = [worker.submit("a", "ort", lambda loaded: loaded.animator).result(10) for _ in range(3)]
    assert len(set(map(id, seen))) == len(OPENED) == 1
    worker.submit("a", "openvino", lambda loaded: None).result(10)
    assert [model.closed for model in OPENED] == [True, False]
    worker.close()
    assert all(model.closed and len(model.threads) == 1 for model in OPENED)


def test_a_model_that_cannot_be_opened_leaves_the_stage_alive(worker: ModelWorker) -> None:
    with pytest.raises(MaskanimError, match="damaged"):
        worker.submit("broken", "ort", lambda loaded: None).result(10)
    assert worker.submit("a", "ort", lambda loaded: 7).result(10) == 7
    told = worker.metrics.text().decode().splitlines()
    assert "maskanim_errors_total 1.0" in told
    assert 'maskanim_engine_info{detail="a stand-in",engine="ort",model="a"} 1.0' in told


def test_a_source_is_encoded_once_per_picture_and_the_one_before_freed(worker: ModelWorker) -> None:
    found: list[Encoded] = []
    for key in ("cat", "cat", "dog"):
        result = worker.submit("a", "ort", lambda loaded, key=key: loaded.source(key, lambda: key))  # type: ignore[misc]
        found.append(result.result(10))
    assert OPENED[0].sources == ["cat", "dog"] and found[0] is found[1]
    assert [(source.image, source.closed) for source in found[1:]] == [("cat", True), ("dog", False)]


def test_closing_stops_what_runs_and_drops_what_waits(worker: ModelWorker) -> None:
    begun = threading.Event()

    def slow(loaded: LoadedModel) -> str:
        begun.set()
        return "stopped" if loaded.stopping.wait(10) else "done"

    first, second = worker.submit("a", "ort", slow), worker.submit("a", "ort", slow)
    assert begun.wait(10) and worker.waiting == 2
    worker.close()
    assert first.result(10) == "stopped"
    with pytest.raises(CancelledError):
        second.result(10)


def test_models_to_choose_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chosen.HOME_VARIABLE, str(tmp_path))
    assert models() == {"demo": "demo"}
    for name in ("beta", "alpha"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "manifest.json").write_text("{}")
    (tmp_path / "models" / "empty").mkdir()
    assert list(models()) == ["alpha", "beta", "demo"]
    assert list(models(tmp_path / "models")) == ["alpha", "beta", "demo"]
    with pytest.raises(MaskanimError, match="empty: no bundle in it"):
        models(tmp_path / "models" / "empty")
    (tmp_path / "current").write_text(str(tmp_path / "gone"))
    assert list(models()) == ["alpha", "beta", "demo"]


def test_the_model_exported_last_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chosen.HOME_VARIABLE, str(tmp_path))
    register(demo_bundle())
    assert models() == {"demo": "demo"}
    shutil.copytree(DEMO / "bundle", tmp_path / "mine")
    bundle = Bundle.open(tmp_path / "mine")
    register(bundle)
    assert models() == {f"{bundle.manifest.name} (exported last)": bundle.path, "demo": "demo"}


def test_engines_that_are_installed() -> None:
    assert engines()[0] == "auto" and {"openvino", "ort"} & set(engines())
