"""Engines kept beside a model: found where they fit, refused with a reason where they do not, never half there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskanim import models
from maskanim.bundle import MANIFEST, Bundle, write_bundle
from maskanim.errors import MaskanimError
from maskanim.spec import NETWORK_NAMES, NETWORKS
from maskanim.trt import records, store
from maskanim.trt.libraries import LIBRARIES, LoadedLibrary
from maskanim.trt.records import BatchRange, BuildOptions, EngineKey, EngineRequest, EngineSet, Target
from maskanim.trt.store import RECORD, StoredEngines, build_engines, find_engines, find_or_build

WriteToys = Callable[..., Bundle]

ADA = Target(name="NVIDIA GeForce RTX 4090", capability=(8, 9))
HOPPER = Target(name="NVIDIA H200", capability=(9, 0))
TURING = Target(name="NVIDIA T4", capability=(7, 5))
FP32 = BuildOptions(precision="fp32")
SM89 = BuildOptions(precision="fp32", targets=("sm89",))


def request(rtx: LoadedLibrary, **changes: object) -> EngineRequest:
    return EngineRequest.model_validate(
        {"library": "rtx", "version": rtx.version, "gpu": ADA, "precision": "fp32", **changes}
    )


def reason(found: StoredEngines | str) -> str:
    assert isinstance(found, str) and "\n" not in found
    return found


class Parts:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.done: list[int] = []

    def update(self, done: int, total: int | None, note: str = "") -> None:
        assert total == 100
        self.done.append(done)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_built_found_and_used_again(bundle: Bundle, rtx: LoadedLibrary, caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    built = build_engines(bundle, rtx, FP32, progress=parts)
    told = caplog.messages
    assert built.folder == bundle.path / "plans" / f"rtx-{rtx.version}-portable-fp32-b1.1.8-o3"
    assert [line.split(":")[0] for line in told] == [f"building {name}.plan" for name in NETWORK_NAMES]
    assert parts.done == sorted(parts.done) and parts.done[-1] == 100
    record = EngineSet.model_validate_json((built.folder / RECORD).read_bytes())
    assert record == built.record and record.key.gpu is None and record.key.options == FP32
    for name, entry in record.networks.items():
        assert built.contents[name] == (built.folder / entry.file).read_bytes()
        assert [tensor.name for tensor in entry.inputs] == [tensor.name for tensor in NETWORKS[name].inputs]
        assert entry.output.maximum == NETWORKS[name].output.shape(8)
        assert entry.source_sha256 == bundle.manifest.networks[name].sha256
    assert sorted(path.name for path in built.folder.iterdir()) == ["h.plan", "l.plan", "m.plan", RECORD, "r.plan"]
    before = contents(bundle.path)

    assert find_engines(Bundle.open(bundle.path), request(rtx, batches=(1, 8))) == built
    caplog.clear()
    assert build_engines(bundle, rtx, FP32) == built
    assert caplog.messages == [f"note: the plans in {built.folder} fit and are used again"]
    assert contents(bundle.path) == before


def test_fp16_plans_have_half_images_and_float_masks(rtx: LoadedLibrary) -> None:
    built = build_engines(models.demo_bundle(), rtx, BuildOptions())
    for name, entry in built.record.networks.items():
        spec = NETWORKS[name]
        for tensor, expected in zip((*entry.inputs, entry.output), (*spec.inputs, spec.output), strict=True):
            assert tensor.dtype == ("float16" if expected.channels == 3 else "float32"), (name, tensor.name)


def test_other_keys_are_kept_and_the_best_is_found(bundle: Bundle, rtx: LoadedLibrary) -> None:
    portable = build_engines(bundle, rtx, FP32)
    narrow = build_engines(bundle, rtx, BuildOptions(precision="fp32", batch=BatchRange.parse("1:1:2")))
    exact = build_engines(bundle, rtx, SM89)
    assert len({plans.folder for plans in (portable, narrow, exact)}) == 3
    assert find_engines(bundle, request(rtx)) == exact
    other = request(rtx, gpu=Target(name="NVIDIA RTX A4000", capability=(8, 6)))
    assert find_engines(bundle, other) == narrow
    assert find_engines(bundle, other.model_copy(update={"batches": (1, 3)})) == portable
    _flip(exact.folder / "m.plan")
    assert find_engines(bundle, request(rtx)) == narrow  # what is damaged does not hide what is whole


def test_why_plans_do_not_fit(bundle: Bundle, rtx: LoadedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(find_engines(bundle, request(rtx))) == "the model has no plans for TensorRT-RTX yet"
    build_engines(bundle, rtx, SM89)
    hopper = Target(name="NVIDIA H200", capability=(9, 0))
    refused = {
        "built for sm89, and this GPU is sm90, NVIDIA H200": {"gpu": hopper},
        f"built by TensorRT-RTX {rtx.version}, and 1.9 is installed": {"version": "1.9"},
        "fp32, and fp16 is wanted": {"precision": "fp16"},
        "built for batches of 1 to 8, and 9 is wanted": {"batches": (1, 9)},
    }
    for told, changes in refused.items():
        found = find_engines(bundle, request(rtx, **changes))
        assert reason(found).startswith(f"the plans in {bundle.path}") and reason(found).endswith(f" are {told}")
    assert reason(find_engines(bundle, request(rtx, library="trt"))) == "the model has no plans for TensorRT yet"
    monkeypatch.setattr(records, "__version__", "99.0")
    assert "and this is 99.0" in reason(find_engines(bundle, request(rtx)))


def test_plans_of_tensorrt_are_for_one_gpu() -> None:
    key = EngineKey(library="trt", version="10.16.1.11", gpu=ADA, options=BuildOptions())
    assert key.folder == "trt-10.16.1.11-sm89-nvidia-geforce-rtx-4090-fp16-b1.1.8-o3"
    wanted = EngineRequest(library="trt", version="10.16.1.11", gpu=ADA)
    assert records.mismatches(key, wanted) == []
    other = Target(name="NVIDIA L40S", capability=(8, 9))
    told = "built for sm89, NVIDIA GeForce RTX 4090, and this GPU is sm89, NVIDIA L40S"
    assert records.mismatches(key, wanted.model_copy(update={"gpu": other})) == [told]


@pytest.mark.parametrize(
    ("built", "wanted", "told"),
    [
        ({}, {"version": "10.17.0.1"}, "built by TensorRT 10.16.1.11, and 10.17.0.1 is installed"),
        ({"version_compatible": True}, {"version": "10.17.0.1"}, None),
        ({"version_compatible": True}, {"version": "10.15.9.9"}, "built by TensorRT 10.16.1.11, and 10.15.9.9 is"),
        ({"version_compatible": True}, {"version": "11.4.0.106"}, "built by TensorRT 10.16.1.11, and 11.4.0.106 is"),
        ({}, {"lean": True}, "not version compatible, and only the lean runtime is here"),
        ({"version_compatible": True}, {"lean": True}, None),
        ({}, {"gpu": HOPPER}, "built for sm89, NVIDIA GeForce RTX 4090, and this GPU is sm90, NVIDIA H200"),
        ({"hardware_compatible": True}, {"gpu": HOPPER}, None),
        (
            {"hardware_compatible": True},
            {"gpu": TURING},
            "built for sm89, NVIDIA GeForce RTX 4090, and this GPU is",
        ),
        ({"strip_weights": True}, {}, None),
    ],
)
def test_where_compatible_engines_run(built: dict[str, Any], wanted: dict[str, Any], told: str | None) -> None:
    key = EngineKey(library="trt", version="10.16.1.11", gpu=ADA, options=BuildOptions(**built))
    request = EngineRequest.model_validate({"library": "trt", "version": "10.16.1.11", "gpu": ADA, **wanted})
    found = records.mismatches(key, request)
    assert not found if told is None else found[0].startswith(told) and len(found) == 1


def test_compatible_engines_have_folders_of_their_own() -> None:
    options = BuildOptions(version_compatible=True, hardware_compatible=True, strip_weights=True)
    key = EngineKey(library="trt", version="10.16.1.11", gpu=ADA, options=options)
    assert key.folder.endswith("-fp16-b1.1.8-o3-vc-hc-stripped")


def test_records_of_older_versions_are_read(bundle: Bundle, rtx: LoadedLibrary) -> None:
    built = build_engines(bundle, rtx, FP32)
    values = json.loads((built.folder / RECORD).read_bytes())
    for option in ("version_compatible", "hardware_compatible", "strip_weights"):
        del values["key"]["options"][option]
    (built.folder / RECORD).write_text(json.dumps(values), "utf-8")
    assert find_engines(bundle, request(rtx)) == built


def test_the_lean_runtime_builds_nothing(bundle: Bundle) -> None:
    library = LoadedLibrary(LIBRARIES["trt"], None, "11.4.0.106", None, is_lean=True)
    with pytest.raises(MaskanimError, match=r"TensorRT lean 11\.4\.0\.106, which builds no engines; expected all of"):
        build_engines(bundle, library, FP32, ADA)


@pytest.mark.parametrize(
    ("capability", "fits"),
    [((7, 5), False), ((8, 0), True), ((8, 6), True), ((8, 9), True), ((9, 0), False), ((12, 1), True)],
)
def test_where_portable_plans_run(capability: tuple[int, int], fits: bool) -> None:
    key = EngineKey(library="rtx", version="1.7", gpu=None, options=BuildOptions())
    wanted = EngineRequest(library="rtx", version="1.7", gpu=Target(name="any", capability=capability))
    assert (records.mismatches(key, wanted) == []) is fits


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_a_flipped_bit_is_noticed_and_mended(
    bundle: Bundle, rtx: LoadedLibrary, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    built = build_engines(bundle, rtx, FP32)
    damaged = built.folder / f"{name}.plan"
    _flip(damaged)
    found = find_engines(bundle, request(rtx))
    assert reason(found) == f"{damaged} changed since it was built"
    mended = build_engines(bundle, rtx, FP32)
    told = caplog.messages[4:]
    assert told[0] == f"note: {damaged} changed since it was built; building again" and len(told) == 5
    assert find_engines(bundle, request(rtx)) == mended


def test_missing_and_unreadable_parts(bundle: Bundle, rtx: LoadedLibrary, caplog: pytest.LogCaptureFixture) -> None:
    built = build_engines(bundle, rtx, FP32)
    (built.folder / "l.plan").unlink()
    assert (
        reason(find_engines(bundle, request(rtx)))
        == f"{built.folder / 'l.plan'} cannot be read (No such file or directory)"
    )
    values = json.loads((built.folder / RECORD).read_bytes())
    del values["networks"]["h"]
    for content in (json.dumps(values), "{", "[]", '{"format": "maskanim-plans", "format_version": 2}'):
        (built.folder / RECORD).write_text(content, "utf-8")
        assert (
            reason(find_engines(bundle, request(rtx))) == f"the plans in {built.folder} are without a readable {RECORD}"
        )
    caplog.clear()
    build_engines(bundle, rtx, FP32)
    assert caplog.messages[0] == f"note: {built.folder} has no readable {RECORD}; building again"


def test_another_model_in_the_same_place(
    bundle: Bundle, rtx: LoadedLibrary, write_toys: WriteToys, caplog: pytest.LogCaptureFixture
) -> None:
    built = build_engines(bundle, rtx, FP32)
    kept = bundle.path.parent / "kept"
    built.folder.parent.rename(kept)
    changed = write_toys(seed=1)
    kept.rename(built.folder.parent)
    assert reason(find_engines(changed, request(rtx))).endswith(
        " are built from another m.onnx, r.onnx, l.onnx, h.onnx"
    )
    caplog.clear()
    assert build_engines(changed, rtx, FP32).contents != built.contents
    assert "are of another model or maskanim; building again" in caplog.messages[0]


def test_writing_a_bundle_again_keeps_the_plans_of_the_same_networks(
    bundle: Bundle, rtx: LoadedLibrary, write_toys: WriteToys
) -> None:
    built = build_engines(bundle, rtx, FP32)
    networks = {name: bundle.network(name).read_bytes() for name in NETWORK_NAMES}
    again = write_bundle(bundle.path, bundle.manifest.model_copy(update={"name": "renamed"}), networks)
    assert find_engines(again, request(rtx)) == built
    changed = write_toys(seed=1)
    assert sorted(contents(changed.path)) == sorted([MANIFEST, *(f"{name}.onnx" for name in NETWORK_NAMES)])


def test_a_failed_build_leaves_nothing(bundle: Bundle, rtx: LoadedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(bundle.path)
    build_engine = store.build_engine

    def fail_at_l(*arguments: object, **options: object) -> object:
        if arguments[2] == "l":
            raise MaskanimError("network l", "too much", "less")
        return build_engine(*arguments, **options)

    monkeypatch.setattr(store, "build_engine", fail_at_l)
    with pytest.raises(MaskanimError, match="network l: too much"):
        build_engines(bundle, rtx, FP32)
    assert contents(bundle.path) == before and not list((bundle.path / "plans").iterdir())


def test_a_bundle_that_cannot_be_written(bundle: Bundle, rtx: LoadedLibrary) -> None:
    (bundle.path / "plans").write_text("no folder", "utf-8")
    built = build_engines(bundle, rtx, FP32)
    assert built.folder.is_relative_to(models.home() / "plans")
    elsewhere = bundle.path.parent / "elsewhere"
    shutil.copytree(bundle.path, elsewhere)
    assert find_engines(Bundle.open(elsewhere), request(rtx)) == built  # the same networks, wherever they lie
    home = models.home()
    shutil.rmtree(home)
    home.write_text("no folder", "utf-8")
    with pytest.raises(MaskanimError, match=r"neither .* nor .* can be written; .*MASKANIM_HOME"):
        build_engines(bundle, rtx, FP32)


def test_the_embedded_demo_is_left_as_it_is(rtx: LoadedLibrary) -> None:
    demo = models.demo_bundle()
    assert store._writable_place(demo).is_relative_to(models.home())


def test_find_or_build(bundle: Bundle, rtx: LoadedLibrary, caplog: pytest.LogCaptureFixture) -> None:
    wanted = request(rtx, batches=(2, 4))
    built = find_or_build(bundle, rtx, wanted)
    assert caplog.messages[0] == "note: the model has no plans for TensorRT-RTX yet; building them here"
    assert built.record.key.options == BuildOptions(
        precision="fp32", batch=BatchRange.parse("2:4:4"), targets=("sm89",), opt_level=3
    )
    caplog.clear()
    assert find_or_build(bundle, rtx, wanted) == built and not caplog.messages
    with pytest.raises(MaskanimError, match="sm90, on which TensorRT-RTX"):
        find_or_build(bundle, rtx, request(rtx, gpu=Target(name="NVIDIA H200", capability=(9, 0))))


def test_tensorrt_needs_a_gpu(bundle: Bundle) -> None:
    library = LoadedLibrary(LIBRARIES["trt"], None, "10.16.1.11", None)
    with pytest.raises(MaskanimError, match="--engine trt: no GPU; expected the one that TensorRT shall build for"):
        build_engines(bundle, library, BuildOptions())


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
