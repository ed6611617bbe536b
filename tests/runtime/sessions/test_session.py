"""What every kind of session must do, whichever library is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from maskanim.bundle import Bundle, Parity
from maskanim.errors import MaskanimError
from maskanim.ops import Array
from maskanim.runtime.backends import BACKENDS as ALL_BACKENDS
from maskanim.runtime.backends import DEFAULTS
from maskanim.runtime.sessions.session import Session, processors, quotas
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName

Sessions = dict[NetworkName, Session]

BACKENDS = {name: backend for name, backend in ALL_BACKENDS.items() if not backend.gpu}  # those over NumPy arrays

# FP32 libraries differ by the order of their sums; the mask heads multiply that by ten before the sigmoid.
FP32_TOLERANCE = 1e-4
# BF16 has 8 significant bits, that is steps of 1/256 just below 1; errors of some of them add up over the layers.
BF16_TOLERANCE = 4 / 256


def open_sessions(bundle: Bundle, engine: str) -> tuple[Sessions, str]:
    runner, detail = import_module(BACKENDS[engine].module).open_runner(bundle, DEFAULTS)
    return runner.nets.sessions, detail


@pytest.fixture(scope="module", params=BACKENDS)
def sessions(request: pytest.FixtureRequest, tiny_bundle: Bundle) -> Iterator[Sessions]:
    opened, detail = open_sessions(tiny_bundle, request.param)
    assert "threads: " in detail
    yield opened
    for session in opened.values():
        session.close()


def inputs_of(name: NetworkName, batch: int = 1, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.random(tensor.shape(batch), dtype=np.float32) for tensor in NETWORKS[name].inputs]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_output_is_as_specified(sessions: Sessions, name: NetworkName, batch: int) -> None:
    output = sessions[name].run(*inputs_of(name, batch))
    assert output.dtype == np.float32 and output.shape == NETWORKS[name].output.shape(batch)
    assert 0 <= output.min() < output.max() <= 1


@pytest.mark.parametrize("name", ["r", "l", "h"])
def test_an_input_of_batch_one_goes_with_every_item(sessions: Sessions, name: NetworkName) -> None:
    first, *others = inputs_of(name, 2)
    output = sessions[name].run(first[:1], *others)
    np.testing.assert_array_equal(output, sessions[name].run(np.concatenate([first[:1]] * 2), *others))


def test_the_output_belongs_to_the_caller(sessions: Sessions) -> None:
    output = sessions["m"].run(*inputs_of("m"))
    kept = output.copy()
    sessions["m"].run(*inputs_of("m", seed=1))
    np.testing.assert_array_equal(output, kept)
    output += 1


def test_inputs_of_any_layout_are_read_and_left_alone(sessions: Sessions) -> None:
    (image,) = inputs_of("m")
    turned = np.ascontiguousarray(image.swapaxes(2, 3)).swapaxes(2, 3)
    turned.flags.writeable = False
    np.testing.assert_array_equal(sessions["m"].run(turned), sessions["m"].run(image))
    np.testing.assert_array_equal(image, inputs_of("m")[0])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x.astype(np.float64), "float64 of shape (1, 1, 64, 64)"),
        (lambda x: (x * 255).astype(np.uint8), "uint8 of shape (1, 1, 64, 64)"),
        (lambda x: x[0], "float32 of shape (1, 64, 64)"),
        (lambda x: x[:, :, :32], "float32 of shape (1, 1, 32, 64)"),
        (lambda x: np.repeat(x, 3, axis=1), "float32 of shape (1, 3, 64, 64)"),
        (lambda x: x[:0], "float32 of shape (0, 1, 64, 64)"),
        (lambda x: x.tolist(), ": list; "),
    ],
)
def test_a_wrong_input_is_named_with_what_was_expected(sessions: Sessions, change: object, told: str) -> None:
    small, mask, perturbed = inputs_of("r")
    with pytest.raises(MaskanimError) as error:
        sessions["r"].run(small, mask, change(perturbed))  # type: ignore[operator]
    message = str(error.value)
    assert "network r, input perturbed_mask" in message and told.removeprefix("") in message
    assert "float32 of shape (N, 1, 64, 64)" in message


def test_batches_that_do_not_go_together(sessions: Sessions) -> None:
    small, mask, perturbed = inputs_of("r", 3)
    with pytest.raises(MaskanimError, match=r"perturbed_mask.*N either 1 or 3"):
        sessions["r"].run(small, mask[:1], perturbed[:2])


def test_missing_inputs_are_listed(sessions: Sessions) -> None:
    with pytest.raises(MaskanimError, match="network r: 1 inputs; expected 3: source_small, source_mask"):
        sessions["r"].run(inputs_of("r")[0])


@pytest.mark.parametrize("engine", BACKENDS)
def test_a_closed_session_says_so(tiny_bundle: Bundle, engine: str) -> None:
    opened, _ = open_sessions(tiny_bundle, engine)
    for session in opened.values():
        session.close()
        session.close()
    with pytest.raises(MaskanimError, match="network m: its session is closed"):
        opened["m"].run(*inputs_of("m"))


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_the_engines_agree(tiny_bundle: Bundle, name: NetworkName) -> None:
    outputs = []
    for engine in BACKENDS:
        opened, _ = open_sessions(tiny_bundle, engine)
        outputs.append(opened[name].run(*inputs_of(name, 2)))
    tolerance = FP32_TOLERANCE if name == "m" else BF16_TOLERANCE
    for output in outputs[1:]:
        np.testing.assert_allclose(output, outputs[0], rtol=0, atol=tolerance)


def test_a_model_that_does_not_survive_bf16_runs_in_fp32(tiny_bundle: Bundle) -> None:
    parity = Parity(frames="", runtime="", max_difference={}, frame_psnr=150, bf16_frame_psnr=44.9)
    manifest = tiny_bundle.manifest.model_copy(update={"parity": parity})
    opened, detail = open_sessions(Bundle(tiny_bundle.path, manifest), "openvino")
    assert detail.endswith(", FP32")
    expected, _ = open_sessions(tiny_bundle, "ort")
    for name in NETWORK_NAMES:
        found = opened[name].run(*inputs_of(name))
        np.testing.assert_allclose(found, expected[name].run(*inputs_of(name)), rtol=0, atol=FP32_TOLERANCE)


V1 = "3:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n"


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        ("0::/", {"cpu.max": "200000 100000\n"}, [2]),  # docker --cpus=2, which sees its own group as the outermost
        ("0::/", {"cpu.max": "max 100000\n"}, []),
        ("0::/", {}, []),
        ("0::/a.slice/b", {"a.slice/cpu.max": "150000 100000", "a.slice/b/cpu.max": "50000 100000"}, [0.5, 1.5]),
        (V1, {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, [2.5]),
        (V1, {"cpu/docker/a/cpu.cfs_quota_us": "-1", "cpu/docker/a/cpu.cfs_period_us": "100000"}, []),
        (V1, {"memory/cpu.max": "100000 100000", "cpu.max": "100000 100000"}, []),
        (None, {"cpu.max": "100000 100000"}, []),  # no Linux
    ],
)
def test_what_control_groups_leave(
    groups: str | None, files: dict[str, str], left: list[float], tmp_path: Path
) -> None:
    written = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in (written | ({"proc/self/cgroup": groups} if groups else {})).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(quotas(tmp_path)) == left


@pytest.mark.parametrize(
    ("quota", "told", "expected"), [([], "", 64), ([1.5, 3.0], "", 2), ([0.1], "", 1), ([8.0], "4", 4), ([2.0], "4", 2)]
)
def test_as_many_threads_as_there_is_time_for(
    quota: list[float], told: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64), raising=False)
    monkeypatch.setattr("maskanim.runtime.sessions.session.quotas", lambda _: quota)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert processors() == expected
