"""What a latency run writes down: one JSON file that holds the figures, the raw times and the conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator

from maskanim.benchmarks.outputs import write_text
from maskanim.errors import MaskanimError
from maskanim.spec import ModelSpec, NetworkName, Record

FORMAT: Final = "maskanim-latency"
SCHEMA_VERSION: Final = 1
DECIMALS = 4  # of milliseconds and seconds: a tenth of a microsecond is below what a clock resolves

Rounds = tuple[tuple[float, ...], ...]


class Gpu(Record):
    """The GPU, its driver and its state at the start: memory in bytes, clocks by name where the driver tells them."""

    name: str
    compute_capability: str
    memory: int
    driver: str | None = None
    cuda: str | None = None
    clocks_mhz: dict[str, int] | None = None


class Conditions(Record):
    """What the figures depend on besides model and engine; None where the system does not tell.

    Attributes:
        date: of the start, UTC, ISO 8601.
        processor, extensions: its name, and those of its instruction sets that matter here.
        limit: ONEDNN_MAX_CPU_ISA, by which OpenVINO and PyTorch leave out newer ones; ONNX Runtime does not heed it.
        cores: how many this process may use.
        frequency_mhz: mean of the cores at the start.
        governor: what sets the frequency.
        load_average: of the minute before the start.
        other_load: how many of the cores were busy on average with something else during the run, time that a
            hypervisor took included.
        memory: of the machine, in bytes.
        libraries: versions of the packages that run here.
    """

    date: str
    processor: str
    extensions: tuple[str, ...]
    limit: str | None = None
    cores: int = Field(ge=1)
    frequency_mhz: float | None = None
    governor: str | None = None
    load_average: float | None = None
    other_load: float | None = None
    memory: int | None = None
    system: str
    python: str
    libraries: dict[str, str]
    gpu: Gpu | None = None


class Model(Record):
    """The bundle that ran.

    Attributes:
        size: ``full``, ``lite`` or ``custom``.
        weights: how they are stored.
        lowering, sha256: of each network's file.
    """

    name: str
    size: str
    spec: ModelSpec
    weights: str
    lowering: dict[NetworkName, tuple[str, ...]]
    sha256: dict[NetworkName, str]


class Settings(Record):
    """How it was measured.

    Attributes:
        rounds: turns that every subject had, the order drawn anew in each.
        frames: at least so many are timed of every subject; in a turn, as many calls as that takes.
        warm_up: calls before the first round that do not count.
        settling: calls at the start of each turn that do not count: caches still hold what ran before.
        repeats: cold starts, and clips from end to end, of every subject.
        clip: what is decoded and encoded from end to end.
        precision, cuda_binding: asked of engines on a GPU.
        least_psnr: what a frame had to keep where a processor ran networks in BF16 or INT8, in dB.
    """

    rounds: int = Field(ge=1)
    frames: int = Field(ge=1)
    warm_up: int = Field(ge=0)
    settling: int = Field(ge=0)
    repeats: int = Field(ge=0)
    clip: str
    precision: str
    cuda_binding: str
    least_psnr: float = 45.0


class Start(Record):
    """One cold start, in a process of its own, in seconds.

    Attributes:
        interpreter: from the process's start to its first line.
        imports: maskanim's runtime and the engine's library.
        load: the bundle is verified, its networks are loaded, compiled or built, and prove themselves on a frame.
        first_frame: a source is encoded and one frame animated.
        built: whether what can be kept for the next time, such as TensorRT's plans, had to be built.
    """

    interpreter: float
    imports: float
    load: float
    first_frame: float
    built: bool = False

    @property
    def total(self) -> float:
        """From the process's start to the first animated frame."""
        return self.interpreter + self.imports + self.load + self.first_frame


class ColdStart(Record):
    """Cold starts, and what the process of the last one took after it had animated the clip.

    Attributes:
        starts: in order.
        seconds: median of their totals, of those that built nothing if there are any.
        peak_memory: bytes of memory.
        device_memory: bytes of the GPU's memory.
    """

    starts: tuple[Start, ...] = Field(min_length=1)
    seconds: float
    peak_memory: int | None = None
    device_memory: int | None = None

    @classmethod
    def of(cls, each: Sequence[ColdStart]) -> ColdStart:
        """Several as one."""
        joined = each[-1].model_copy(update={"starts": tuple(start for one in each for start in one.starts)})
        return joined.model_copy(update={"seconds": median([start.total for start in joined.usual])})

    @property
    def usual(self) -> tuple[Start, ...]:
        """The starts that built nothing, or all if every one did."""
        return tuple(start for start in self.starts if not start.built) or self.starts

    @property
    def building(self) -> float | None:
        """Seconds that building took on top of loading; None if nothing had to be built."""
        built = [start.load for start in self.starts if start.built]
        loads = [start.load for start in self.starts if not start.built]
        return max(built) - median(loads or [0.0]) if built else None


class Timing(Record):
    """Times of calls, one after the other, from frames that are prepared to finished pictures.

    Attributes:
        rounds: milliseconds of each timed call, turn by turn.
        p50, p90, p95, p99, mean: of all of them, in milliseconds per call.
        frames_per_second: frames over the sum of the times.
        streamed_rounds: milliseconds per call of each turn, where the runner was given its calls' frames all at
            once; only of runners that keep several in flight.
        streamed_frames_per_second: of their median, by which two runs are compared.
    """

    rounds: Rounds = Field(min_length=1)
    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    frames_per_second: float
    streamed_rounds: tuple[float, ...] = ()
    streamed_frames_per_second: float | None = None

    @field_validator("rounds")
    @classmethod
    def _of_one_length(cls, rounds: Rounds) -> Rounds:
        if len({len(calls) for calls in rounds}) > 1 or not rounds[0]:
            raise ValueError("every round has as many calls as the others, and at least one")
        return rounds

    @property
    def best_rate(self) -> float:
        """Frames per second where nothing waits for a frame to be finished."""
        return self.streamed_frames_per_second or self.frames_per_second


class EndToEnd(Record):
    """A clip decoded, animated and encoded, source encoding included.

    Attributes:
        frames: of the clip.
        seconds: of each repeat.
        frames_per_second: of their median.
    """

    frames: int = Field(ge=1)
    seconds: tuple[float, ...] = Field(min_length=1)
    frames_per_second: float

    @classmethod
    def of(cls, seconds: Sequence[float], frames: int) -> EndToEnd:
        rate = round(frames / median(seconds), DECIMALS)
        return cls(frames=frames, seconds=rounded(seconds), frames_per_second=rate)


class Stages(Record):
    """Where the time of a call goes, measured with a clock around each stage of `pipeline.animate_frame`.

    Attributes:
        rounds: milliseconds of each stage, by its name, one value a turn.
        medians: of each stage.
    """

    rounds: dict[str, tuple[float, ...]]
    medians: dict[str, float]

    @classmethod
    def of(cls, turns: Sequence[Mapping[str, float]]) -> Stages:
        rounds = {stage: rounded([turn[stage] for turn in turns]) for stage in turns[0]}
        return cls(rounds=rounds, medians={stage: median(values) for stage, values in rounds.items()})


class Measured(Record):
    """One subject.

    Attributes:
        engine: the name that was asked for.
        batch: frames that one call animates.
        detail: library, version, device, threads and precision, as the engine tells.
        cold, end_to_end: None where only calls were timed.
        stages: None if the runner cannot tell them apart.
        source_ms: milliseconds to encode a source, one value a turn.
        sm_mhz: the GPU's slowest and fastest clock after a turn.
    """

    engine: str
    batch: int = Field(ge=1)
    detail: str
    cold: ColdStart | None = None
    model_only: Timing
    end_to_end: EndToEnd | None = None
    stages: Stages | None = None
    source_ms: tuple[float, ...] = Field(min_length=1)
    sm_mhz: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """See `label`."""
        return label(self.engine, self.batch)


class LatencyReport(Record):
    """A whole run.

    Attributes:
        left_out: engines that nobody asked for by name and that do not work here, with the reason.
    """

    format: Literal["maskanim-latency"] = FORMAT
    schema_version: Literal[1] = SCHEMA_VERSION
    model: Model
    conditions: Conditions
    settings: Settings
    measured: tuple[Measured, ...] = Field(min_length=1)
    left_out: dict[str, str] = {}


def label(engine: str, batch: int) -> str:
    """The engine, and the batch where it is not one."""
    return engine if batch == 1 else f"{engine}, batch {batch}"


def timing(rounds: Sequence[Sequence[float]], batch: int, streamed: Sequence[float] = ()) -> Timing:
    """The figures of raw times.

    Args:
        rounds: milliseconds of each call, turn by turn.
        batch: frames per call.
        streamed: milliseconds per call of each streamed turn.
    """
    times = np.concatenate([np.asarray(calls) for calls in rounds])
    p50, p90, p95, p99 = rounded(np.percentile(times, (50, 90, 95, 99)).tolist())
    mean, rate = rounded([float(times.mean()), 1000 * batch / float(times.mean())])
    return Timing(
        rounds=tuple(map(rounded, rounds)), p50=p50, p90=p90, p95=p95, p99=p99, mean=mean, frames_per_second=rate,
        streamed_rounds=rounded(streamed),
        streamed_frames_per_second=round(1000 * batch / median(streamed), DECIMALS) if len(streamed) else None,
    )  # fmt: skip


def rounded(values: Sequence[float]) -> tuple[float, ...]:
    """To the digits that are kept."""
    return tuple(round(value, DECIMALS) for value in values)


def median(values: Sequence[float]) -> float:
    """Rounded as all figures of a record are."""
    return round(float(np.median(values)), DECIMALS)


def schema() -> dict[str, Any]:
    """The JSON Schema of a report (draft 2020-12)."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | LatencyReport.model_json_schema()


def write_report(path: Path, report: LatencyReport) -> None:
    """As JSON, each list of numbers on one line; see `outputs.write_text`."""
    text = json.dumps(report.model_dump(mode="json"), indent=2)
    lists = re.sub(r"\[\s+([-+\d.,eE\s]+?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    write_text(path, lists + "\n")


def read_report(path: Path) -> LatencyReport:
    """A report from its file.

    Raises:
        MaskanimError: it cannot be read, or is not a report of this schema version.
    """
    wanted = f"a file that maskanim-bench latency --json wrote, schema version {SCHEMA_VERSION}"
    try:
        return LatencyReport.model_validate_json(path.read_bytes())
    except OSError as error:
        raise MaskanimError(str(path), error.strerror or "unreadable", wanted) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        given = f"{where} {first['input']}" if where.endswith("version") else where or "the file"
        raise MaskanimError(str(path), f"{given}: {first['msg']}", wanted, "Measure again with this maskanim") from None
