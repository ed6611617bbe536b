"""The model that Triton's Python backend runs: sequences of driving frames, each with the source that came first.

maskanim-export copies this file beside a bundle. It needs maskanim installed in the server's Python, with the extra of
the engine, and nothing else of the repository that wrote it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.runtime import Animator
from maskanim.runtime.backends import RunOptions

BUNDLE = "bundle"  # beside this file
Pixels = NDArray[np.uint8]


class Request(NamedTuple):
    """What one request asks for."""

    sequence: int | str  # its correlation ID
    # start, end: whether it is the sequence's first or last
    start: bool
    end: bool
    source: Pixels | None  # (height, width, 3) uint8 RGB, to be animated from now on, or None
    # (frames, height, width, 3) uint8 RGB, or None: Triton 24.10 lets that through beside optional inputs
    driving: Pixels | None


class Sequences:
    """A model and the sources of the sequences that are under way.

    Args:
        animator: closed with this.
        idle: seconds after which a sequence without requests has been abandoned.
    """

    def __init__(self, animator: Animator, idle: float) -> None:
        self.animator, self.idle = animator, idle
        self.sources: dict[int | str, Any] = {}
        self._used: dict[int | str, float] = {}

    def answer(self, request: Request) -> Pixels | MaskanimError:
        """The animated frames, (frames, 256, 256, 3) uint8 RGB, or why there are none."""
        try:
            return self._animate(request)
        except MaskanimError as error:
            return error
        finally:
            self._used[request.sequence] = monotonic()
            if request.end:
                self.forget(request.sequence)

    def _animate(self, request: Request) -> Pixels:
        name = request.sequence
        if request.start or request.source is not None:
            self.forget(name)
        if request.source is not None:
            self.sources[name] = self.animator.encode_source(request.source)
        if name not in self.sources:
            wanted = "a source picture with the sequence's first request"
            raise MaskanimError(f"sequence {name}", "no source, or none that could be used", wanted)
        if request.driving is None or not len(request.driving):
            raise MaskanimError(f"sequence {name}", "no driving frames", "at least one in each request")
        return np.stack(list(self.animator.stream(self.sources[name], request.driving)))

    def forget(self, sequence: int | str) -> None:
        """Free what a sequence holds, if it holds anything."""
        self._used.pop(sequence, None)
        source = self.sources.pop(sequence, None)
        if hasattr(source, "close"):  # on a GPU it has memory there
            source.close()

    def forget_abandoned(self) -> None:
        """Free what sequences hold whose client has gone: Triton ends those without telling the model."""
        # Twice the time, as a request may have waited for its turn.
        now = monotonic()
        for name in [name for name, used in self._used.items() if now - used > 2 * self.idle]:
            self.forget(name)
            pb_utils.Logger.log_info(f"maskanim: sequence {name} was abandoned; its source is freed")

    def close(self) -> None:
        """Free everything."""
        for name in list(self._used):
            self.forget(name)
        self.animator.close()


class TritonPythonModel:
    """What Triton calls. One thread, neither Triton's nor the timer's, has the engine from its opening to its end."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the bundle as the configuration says."""
        config = json.loads(args["model_config"])
        idle = int(config["sequence_batching"]["max_sequence_idle_microseconds"]) / 1e6
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices(args, os.environ.get("CUDA_VISIBLE_DEVICES"))
        self._engine_thread = ThreadPoolExecutor(1, "engine")
        self._sequences = self._engine_thread.submit(_open, config["parameters"], idle).result()
        self._stopped = Event()
        self._timer = Thread(target=self._watch, args=(idle / 2,), daemon=True)
        self._timer.start()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests of different sequences; a refused one leaves the others alone."""
        asked = [_request(request) for request in requests]
        answers = self._engine_thread.submit(lambda: [self._sequences.answer(request) for request in asked]).result()
        return [_response(answer) for answer in answers]

    def finalize(self) -> None:
        """Close the bundle."""
        self._stopped.set()
        self._timer.join()
        self._engine_thread.submit(self._sequences.close).result()
        self._engine_thread.shutdown()

    def _watch(self, seconds: float) -> None:
        while not self._stopped.wait(seconds):
            self._engine_thread.submit(self._sequences.forget_abandoned).result()


def visible_devices(args: Mapping[str, str], visible: str | None) -> str:
    """CUDA_VISIBLE_DEVICES for an instance: its own GPU alone, or none on the processor.

    Args:
        args: as of `initialize`; the device there counts those that the server sees.
        visible: the variable as the server has it.
    """
    if args["model_instance_kind"] != "GPU":
        return ""
    device = int(args["model_instance_device_id"])
    return visible.split(",")[device] if visible else str(device)


def _open(parameters: Mapping[str, Mapping[str, str]], idle: float) -> Sequences:
    settings = {name: value["string_value"] for name, value in parameters.items()}
    _log_to_triton()
    options = RunOptions(
        int(settings["batch"]), settings["precision"], least_psnr=float(settings.get("least_psnr", 45))
    )
    animator = Animator.open(Path(__file__).with_name(BUNDLE), settings["engine"], options)
    pb_utils.Logger.log_info(f"maskanim: engine {animator.engine.name} ({animator.engine.detail})")
    return Sequences(animator, idle)


def _log_to_triton() -> None:
    """What the library logs, such as that it builds engines, goes into the server's log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            pb_utils.Logger.log_info(record.getMessage())

    logger = logging.getLogger("maskanim")
    logger.setLevel(logging.INFO)
    logger.handlers = [Handler()]


def _request(request: Any) -> Request:
    """A request without the batch's axis, which is one long in sequences."""
    start, end = (_array(request, name).item() for name in ("START", "END"))
    # Not by the control CORRID, which has one type: clients may name sequences by numbers or by strings.
    sequence = request.correlation_id()
    return Request(sequence, start, end, _array(request, "source"), _array(request, "driving"))


def _array(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()[0]


def _response(answer: Pixels | MaskanimError) -> Any:
    if isinstance(answer, MaskanimError):
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(answer)))
    return pb_utils.InferenceResponse([pb_utils.Tensor("frames", answer[None])])
