"""Engines built for real by TensorRT-RTX, which needs no GPU for it; what is told of graphs that it cannot build."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from maskanim.errors import MaskanimError
from maskanim.models import demo_bundle
from maskanim.progress import NO_PROGRESS
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName
from maskanim.trt.builder import Phases, _Build, build_engine
from maskanim.trt.libraries import LoadedLibrary
from maskanim.trt.records import (
    BatchRange,
    BuildOptions,
    Target,
    own_targets,
    parse_opt_level,
    parse_precision,
    parse_targets,
    valid_targets,
)

MakeGraph = Callable[..., bytes]


class Calling(NamedTuple):
    """A progress that hands on how many percent are done, and of what."""

    function: Callable[[int, str], object]

    def update(self, done: int, total: int | None, note: str = "") -> None:
        assert total == 100
        self.function(done, note)


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_inputs_and_output(rtx: LoadedLibrary, make_graph: MakeGraph, name: NetworkName) -> None:
    spec = NETWORKS[name]
    options = BuildOptions(batch=BatchRange(minimum=2, optimum=3, maximum=5))
    plan = build_engine(rtx, make_graph(name), name, options)
    assert len(plan.content) > 1000
    assert [tensor.name for tensor in plan.inputs] == [tensor.name for tensor in spec.inputs]
    for tensor, expected in zip((*plan.inputs, plan.output), (*spec.inputs, spec.output), strict=True):
        assert tensor.name == expected.name and tensor.dtype == "float32"
        assert (tensor.minimum, tensor.optimum, tensor.maximum) == tuple(map(expected.shape, (2, 3, 5)))


def test_options_reach_the_library(rtx: LoadedLibrary, make_graph: MakeGraph) -> None:
    build = _Build(rtx, "m", NO_PROGRESS)
    build.parse(make_graph("m"))
    flags = rtx.module.BuilderFlag
    portable = build.config(BuildOptions())
    assert not portable.get_flag(flags.TF32) and portable.get_flag(flags.REQUIRE_USER_ALLOCATION)
    assert (portable.num_compute_capabilities, portable.builder_optimization_level) == (0, 3)
    assert portable.num_optimization_profiles == 1
    chosen = build.config(BuildOptions(targets=("sm75", "sm120"), opt_level=5))
    assert [chosen.get_compute_capability(index).name for index in range(2)] == ["SM75", "SM120"]
    assert (chosen.num_compute_capabilities, chosen.builder_optimization_level) == (2, 5)


def test_compatibility_reaches_the_library(rtx: LoadedLibrary) -> None:
    """TensorRT's options by the names of TensorRT-RTX, which has the same and ignores some."""
    build, flags = _Build(rtx, "m", NO_PROGRESS), rtx.module.BuilderFlag
    expected = {
        "version_compatible": ([flags.VERSION_COMPATIBLE], None),
        "hardware_compatible": ([], rtx.module.HardwareCompatibilityLevel.AMPERE_PLUS),
        "strip_weights": ([flags.STRIP_PLAN, flags.REFIT_IDENTICAL], None),
    }
    for option, (given, level) in expected.items():
        found: list[object] = []
        config = SimpleNamespace(set_flag=found.append, hardware_compatibility_level=None)
        build._set_compatibility(config, BuildOptions.model_validate({option: True}))
        assert (found, config.hardware_compatibility_level) == (given, level)


def test_weights_stored_as_float16_build_in_float32(rtx: LoadedLibrary, make_graph: MakeGraph) -> None:
    plan = build_engine(rtx, make_graph("m", stored_half=True), "m", BuildOptions(precision="fp32"))
    assert {tensor.dtype for tensor in (*plan.inputs, plan.output)} == {"float32"}
    bundle = demo_bundle()
    assert bundle.manifest.weights == "float16"
    plan = build_engine(rtx, bundle.network("m").read_bytes(), "m", BuildOptions(precision="fp32"))
    # Folded to four bytes a weight: nothing of the arithmetic is in half.
    assert len(plan.content) > 1.9 * bundle.manifest.networks["m"].size


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("operation", r"node culprit \(Det\): unsupported node"),
        ("domain", r"node culprit \(Frobnicate\): invalid node, .*Plugin not found"),
        ("shape", r"node culprit \(Add\): invalid node, .*broadcast dimensions must be conformable"),
        ("type", r"node culprit \(Add\): invalid node, .*must have same input types"),
    ],
)
def test_a_graph_that_cannot_be_parsed_names_the_node(
    rtx: LoadedLibrary, make_graph: MakeGraph, wrong: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MaskanimError, match=f"network m: {told}") as e:
        build_engine(rtx, make_graph("m", wrong=wrong), "m", BuildOptions())
    assert "\n" not in str(e.value) and "_src" not in str(e.value) and rtx.full_name in str(e.value)
    assert capfd.readouterr() == ("", "")


def test_not_the_graph_of_this_network(rtx: LoadedLibrary, make_graph: MakeGraph) -> None:
    with pytest.raises(MaskanimError, match="inputs image and outputs mask; expected source_small, source_mask"):
        build_engine(rtx, make_graph("m"), "r", BuildOptions())
    for content in (b"", b"hello", b"\xff" * 100):
        with pytest.raises(MaskanimError, match="network m: "):
            build_engine(rtx, content, "m", BuildOptions())


def test_a_refused_build_tells_the_first_error(rtx: LoadedLibrary, make_graph: MakeGraph) -> None:
    batch = BatchRange.model_construct(minimum=9, optimum=1, maximum=8)  # without validation
    with pytest.raises(MaskanimError, match=r"TensorRT-RTX .* cannot build it, .*MIN<=OPT<=MAX") as e:
        build_engine(rtx, make_graph("m"), "m", BuildOptions.model_construct(batch=batch))
    assert "\n" not in str(e.value) and "_src" not in str(e.value)


def test_progress(rtx: LoadedLibrary, make_graph: MakeGraph) -> None:
    told: list[tuple[int, str]] = []
    build_engine(rtx, make_graph("h"), "h", BuildOptions(), progress=Calling(lambda *done: told.append(done)))
    parts = [part for part, _ in told]
    assert len(set(parts)) > 10 and parts == sorted(parts) and parts[0] >= 0 and parts[-1] <= 100
    assert len({phase for _, phase in told}) > 3


def test_parts_of_phases() -> None:
    told: list[int] = []
    phases = Phases(Calling(lambda done, note: told.append(done)))
    phases.start("outer", None, 4)
    assert phases.step("outer")
    phases.start("inner", "outer", 2)
    phases.step("inner")
    phases.finish("inner")
    phases.step("unknown")
    phases.step("outer")
    phases.start("second", None, 10)
    phases.step("second")
    assert told == [0, 25, 25, 38, 38, 50, 50, 50]


def test_control_c_cancels(rtx: LoadedLibrary, make_graph: MakeGraph) -> None:
    before, told = signal.getsignal(signal.SIGINT), []

    def interrupt(done: int, phase: str) -> None:
        told.append(phase)
        if len(told) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build_engine(rtx, make_graph("m"), "m", BuildOptions(), progress=Calling(interrupt))
    assert signal.getsignal(signal.SIGINT) is before
    whole: list[str] = []
    build_engine(rtx, make_graph("m"), "m", BuildOptions(), progress=Calling(lambda done, phase: whole.append(phase)))
    assert len(told) < len(whole) / 2  # it ended early, and building goes on working


def test_a_progress_that_raises_ends_the_build_and_is_raised(rtx: LoadedLibrary, make_graph: MakeGraph) -> None:
    def fail(done: int, phase: str) -> None:
        raise BrokenPipeError("no one looks")

    with pytest.raises(BrokenPipeError, match="no one looks"):
        build_engine(rtx, make_graph("m"), "m", BuildOptions(), progress=Calling(fail))


@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_timing_cache(rtx: LoadedLibrary, make_graph: MakeGraph, tmp_path: Path) -> None:
    """TensorRT's way with it, taken by TensorRT-RTX, whose cache has a header and no measurements."""
    path = tmp_path / "timings" / "one.cache"
    build_engine(rtx, make_graph("m"), "m", BuildOptions(), timing_cache=path)
    assert not path.exists()
    measuring = replace(rtx, known=replace(rtx.known, builds_without_gpu=False))
    build_engine(measuring, make_graph("m"), "m", BuildOptions(), timing_cache=path)
    first = path.read_bytes()
    assert first
    for content in (first, b"damaged"):
        path.write_bytes(content)
        build_engine(measuring, make_graph("m"), "m", BuildOptions(), timing_cache=path)
        assert path.read_bytes() == first and [entry.name for entry in path.parent.iterdir()] == [path.name]
    (tmp_path / "file").touch()
    build_engine(measuring, make_graph("m"), "m", BuildOptions(), timing_cache=tmp_path / "file" / "one.cache")


@pytest.mark.parametrize("text", ["", "0:1:1", "2:1:8", "1:9:8", "1:2", "1:2:3:4", "a:b:c", "-1:1:1", "1:1:8:"])
def test_wrong_batches(text: str) -> None:
    with pytest.raises(MaskanimError, match=r"--batch: .*; expected MIN:OPT:MAX"):
        BatchRange.parse(text)


def test_batches() -> None:
    assert BatchRange.parse("1:2:8") == BatchRange(minimum=1, optimum=2, maximum=8)
    assert str(BatchRange.parse("4")) == "4:4:4"


def test_targets(rtx: LoadedLibrary) -> None:
    assert valid_targets(rtx)[:4] == ("sm75", "sm80", "sm86", "sm89") and "sm120" in valid_targets(rtx)
    assert parse_targets("sm120, SM_86,sm86", rtx) == ("sm86", "sm120")
    for text in ("sm90", "", "sm86,", "current", "none", "86", "sm86 sm89"):
        with pytest.raises(MaskanimError, match=r"--targets: .*; expected some of sm75, sm80, sm86, sm89, sm120"):
            parse_targets(text, rtx)


def test_own_targets(rtx: LoadedLibrary) -> None:
    assert own_targets(rtx, Target(name="NVIDIA GeForce RTX 2080", capability=(7, 5))) == ("sm75",)
    assert own_targets(rtx, Target(name="one of the future", capability=(15, 0))) == ()
    with pytest.raises(MaskanimError, match=r"NVIDIA H200, sm90, on which TensorRT-RTX .* does not run.*--engine trt"):
        own_targets(rtx, Target(name="NVIDIA H200", capability=(9, 0)))


def test_other_flags() -> None:
    assert (parse_precision("fp16"), parse_opt_level(5)) == ("fp16", 5)
    with pytest.raises(MaskanimError, match="--precision: fp8; expected fp16 or fp32 or int8"):
        parse_precision("fp8")
    for level in (-1, 6):
        with pytest.raises(MaskanimError, match=f"--opt-level: {level}; expected 0 to 5"):
            parse_opt_level(level)
