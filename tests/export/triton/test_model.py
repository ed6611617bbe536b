"""What runs inside Triton, without Triton: over a stand-in for the module that its Python backend brings."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from maskanim.bundle import Bundle
from maskanim.export.triton import Serving, write_repository
from maskanim.ops import Frame
from maskanim.runtime import Animator

IDLE = 0.6  # seconds


class Tensor:
    """As triton_python_backend_utils.Tensor."""

    def __init__(self, name: str, array: Any) -> None:
        self.name, self.array = name, array

    def as_numpy(self) -> Any:
        return self.array


class Request(NamedTuple):
    """As triton_python_backend_utils.InferenceRequest."""

    sequence: int | str
    inputs: dict[str, Any]

    def correlation_id(self) -> int | str:
        return self.sequence


def by_name(request: Request, name: str) -> Tensor | None:
    return Tensor(name, request.inputs[name]) if name in request.inputs else None


def response(tensors: list[Tensor] | None = None, error: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(frames=None if tensors is None else tensors[0].array, error=error)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged, by the stand-in that this puts in Triton's place."""
    lines: list[str] = []
    backend = ModuleType("triton_python_backend_utils")
    members = {
        "Tensor": Tensor,
        "InferenceResponse": response,
        "TritonError": str,
        "Logger": SimpleNamespace(log_info=lines.append),
        "get_input_tensor_by_name": by_name,
    }
    vars(backend).update(members)
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    return lines


@pytest.fixture
def module(tmp_path: Path, tiny_bundle: Bundle, log: list[str]) -> ModuleType:
    """The model.py of a repository."""
    folder = write_repository(tiny_bundle, tmp_path / "models", Serving(engine="openvino", idle_seconds=IDLE))
    spec = importlib.util.spec_from_file_location("served_model", folder / "1/model.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def arguments() -> dict[str, str]:
    """What Triton gives to `initialize`."""
    config = {
        "sequence_batching": {"max_sequence_idle_microseconds": str(round(IDLE * 1e6))},
        "parameters": {
            name: {"string_value": value}
            for name, value in {"engine": "openvino", "precision": "fp16", "batch": "2", "least_psnr": "45"}.items()
        },
    }
    return {
        "model_config": json.dumps(config),
        "model_instance_kind": "CPU",
        "model_instance_device_id": "0",
    }


@pytest.fixture
def served(module: ModuleType, arguments: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The model, initialized."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # so that what initialize writes there is undone
    model = module.TritonPythonModel()
    model.initialize(arguments)
    yield model
    model.finalize()


def request(
    sequence: int | str, frames: list[Frame], source: Frame | None = None, *, start: bool = False, end: bool = False
) -> Request:
    """A request as Triton hands it over: each tensor with the batch's axis."""
    controls = {name: np.array([[value]]) for name, value in (("START", start), ("END", end))}
    sources = {} if source is None else {"source": source[None]}
    return Request(sequence, controls | sources | {"driving": np.stack(frames)[None]})


@pytest.fixture
def expected(tiny_bundle: Bundle) -> Iterator[Callable[[Frame, list[Frame]], list[Frame]]]:
    """What maskanim-run makes of a source and frames."""
    with Animator.open(tiny_bundle, "openvino") as animator:
        yield lambda source, frames: [animator.animate(animator.encode_source(source), frame) for frame in frames]


def test_interleaved_sequences_keep_their_own_sources(
    served: Any, tiny_frames: list[Frame], expected: Callable[[Frame, list[Frame]], list[Frame]]
) -> None:
    sources: dict[int | str, Frame] = {7: tiny_frames[0], "seven": tiny_frames[-1][:, ::-1]}
    wanted = {name: expected(source, tiny_frames) for name, source in sources.items()}
    assert (wanted[7][0] != wanted["seven"][0]).any()
    last = len(tiny_frames) - 1
    for i, frame in enumerate(tiny_frames):
        together = [
            request(name, [frame], source if i == 0 else None, start=i == 0, end=i == last)
            for name, source in sources.items()
        ]
        for name, answer in zip(sources, served.execute(together), strict=True):
            assert answer.error is None
            np.testing.assert_array_equal(answer.frames, wanted[name][i][None, None])
    assert not served._sequences.sources


def test_several_frames_in_a_request(
    served: Any, tiny_frames: list[Frame], expected: Callable[[Frame, list[Frame]], list[Frame]]
) -> None:
    (answer,) = served.execute([request(1, tiny_frames, tiny_frames[0], start=True)])
    assert answer.frames.shape == (1, len(tiny_frames), 256, 256, 3) and answer.frames.dtype == np.uint8
    # Batches of two may round otherwise than frames alone: one grey level.
    wanted = np.stack(expected(tiny_frames[0], tiny_frames)).astype(int)
    assert np.abs(answer.frames[0] - wanted).max() <= 1


def test_a_later_source_replaces_the_first(
    served: Any, tiny_frames: list[Frame], expected: Callable[[Frame, list[Frame]], list[Frame]]
) -> None:
    served.execute([request(1, tiny_frames[:1], tiny_frames[0], start=True)])
    other = tiny_frames[-1][:, ::-1]
    served.execute([request(1, tiny_frames[:1], other)])
    (answer,) = served.execute([request(1, tiny_frames[2:3], end=True)])
    np.testing.assert_array_equal(answer.frames[0], np.stack(expected(other, tiny_frames[2:3])))


def test_one_that_is_refused_leaves_the_others_alone(served: Any, tiny_frames: list[Frame]) -> None:
    frames, source = tiny_frames[:1], tiny_frames[0]
    tiny: Frame = np.zeros((8, 8, 3), np.uint8)
    answers = served.execute(
        [
            request(1, frames, start=True),
            request(2, frames, source, start=True),
            request(3, frames, tiny, start=True),
            request(4, [tiny], source, start=True),
        ]
    )
    assert [answer.error is None for answer in answers] == [False, True, False, False]
    assert answers[0].error.startswith("sequence 1: no source, or none that could be used; expected a source picture")
    assert all("8x8 pixels; expected at least 64x64" in answer.error for answer in answers[2:])
    assert sorted(served._sequences.sources) == [2, 4]
    missing, empty = request(2, frames), request(2, frames)
    del missing.inputs["driving"]
    empty.inputs["driving"] = empty.inputs["driving"][:, :0]
    for none in (missing, empty):
        assert "no driving frames" in served.execute([none])[0].error
    assert served.execute([request(4, frames)])[0].error is None


def test_a_sequence_that_starts_again_has_no_older_source(served: Any, tiny_frames: list[Frame]) -> None:
    served.execute([request(1, tiny_frames[:1], tiny_frames[0], start=True)])
    (answer,) = served.execute([request(1, tiny_frames[:1], start=True)])
    assert answer.error and not served._sequences.sources


class Held:
    """A source that holds memory until it is closed, as one on a GPU does."""

    closed = False

    def close(self) -> None:
        self.closed = True


def test_what_a_client_that_has_gone_leaves_is_freed(served: Any, tiny_frames: list[Frame], log: list[str]) -> None:
    served.execute([request(5, tiny_frames[:1], tiny_frames[0], start=True)])
    held = Held()
    served._sequences.sources[5] = held
    until = time.monotonic() + 10
    while served._sequences.sources and time.monotonic() < until:
        time.sleep(IDLE / 8)
    assert not served._sequences.sources and held.closed
    assert log[-1] == "maskanim: sequence 5 was abandoned; its source is freed"
    assert served.execute([request(5, tiny_frames[:1])])[0].error


def test_a_sequence_in_use_is_not_abandoned(served: Any, tiny_frames: list[Frame]) -> None:
    served.execute([request(5, tiny_frames[:1], tiny_frames[0], start=True)])
    until = time.monotonic() + 4 * IDLE
    while time.monotonic() < until:
        time.sleep(IDLE / 4)
        assert served.execute([request(5, tiny_frames[:1])])[0].error is None


def test_at_the_end_everything_is_freed(
    module: ModuleType, arguments: dict[str, str], tiny_frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    model = module.TritonPythonModel()
    model.initialize(arguments)
    model.execute([request(5, tiny_frames[:1], tiny_frames[0], start=True)])
    held = Held()
    model._sequences.sources[5] = held
    model.finalize()
    assert held.closed and not model._timer.is_alive()


def test_the_engine_is_told_once_it_runs(served: Any, log: list[str]) -> None:
    assert log[-1].startswith("maskanim: engine openvino (OpenVINO ")


@pytest.mark.parametrize(
    ("kind", "device", "visible", "expected"),
    [
        ("CPU", "0", None, ""),
        ("CPU", "0", "0,1", ""),
        ("GPU", "1", None, "1"),
        ("GPU", "1", "4,6", "6"),
        ("GPU", "0", "GPU-5f", "GPU-5f"),
    ],
)
def test_an_instance_sees_its_own_gpu(
    module: ModuleType, kind: str, device: str, visible: str | None, expected: str
) -> None:
    arguments = {"model_instance_kind": kind, "model_instance_device_id": device}
    assert module.visible_devices(arguments, visible) == expected


def test_the_quality_that_is_asked_for_reaches_the_engine(
    module: ModuleType, arguments: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    stand_in = SimpleNamespace(engine=SimpleNamespace(name="", detail=""), close=lambda: None)
    monkeypatch.setattr(module.Animator, "open", lambda *given: opened.append(given[2]) or stand_in)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    config = json.loads(arguments["model_config"])
    config["parameters"]["least_psnr"] = {"string_value": "38.5"}
    model = module.TritonPythonModel()
    model.initialize(arguments | {"model_config": json.dumps(config)})
    model.finalize()
    (options,) = opened
    assert (options.least_psnr, options.batch) == (38.5, 2)
