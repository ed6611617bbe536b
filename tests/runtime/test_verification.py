"""A backend whose frames are not the golden ones is refused by name, whatever the fault, and the next one is tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from helpers import toys
from maskanim import models
from maskanim.bundle import Bundle, network_file, write_bundle
from maskanim.errors import MaskanimError
from maskanim.runtime import Animator
from maskanim.runtime.backends import BACKENDS, open_runner
from maskanim.runtime.doctor.cli import app as doctor
from maskanim.runtime.sessions import openvino
from maskanim.runtime.sessions.session import Session
from maskanim.runtime.verification import _require
from maskanim.spec import NETWORKS, NetworkName

ON_PROCESSORS = [name for name, backend in BACKENDS.items() if not backend.gpu]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return toys.golden_bundle(tmp_path_factory.mktemp("golden"))


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))


@pytest.fixture
def doctored(bundle: Bundle, tmp_path: Path) -> Callable[[NetworkName, str], Bundle]:
    """The bundle with one network that gives something else, as a library's engine might, and the same golden pair."""

    def made(name: NetworkName, fault: str) -> Bundle:
        spoilt = toys.spoilt(bundle.network(name).read_bytes(), fault)
        contents = {n: spoilt if n == name else bundle.network(n).read_bytes() for n in NETWORKS}
        networks = {n: network_file(n, content) for n, content in contents.items()}
        manifest = bundle.manifest.model_copy(update={"networks": networks})
        return write_bundle(tmp_path / "doctored", manifest, contents, (bundle.path / "golden.png").read_bytes())

    return made


@pytest.mark.parametrize("engine", ON_PROCESSORS)
@pytest.mark.parametrize("fault", ["black", "NaN", "swapped"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("error::RuntimeWarning")  # the error is all that is told
def test_a_network_that_gives_something_else_is_refused_by_name(
    doctored: Callable[[NetworkName, str], Bundle], engine: str, fault: str, name: NetworkName
) -> None:
    model = doctored(name, fault)
    for _ in range(2):  # also by what was kept of the first time
        with pytest.raises(MaskanimError) as error:
            open_runner(model, engine)
        told = "holds a NaN" if fault == "NaN" else "agrees with PyTorch's to "
        assert str(error.value).startswith(f"engine {engine}, network {name}: its ") and told in str(error.value)
        assert "; expected at least 45 dB. Use another --engine" in str(error.value)


@pytest.mark.parametrize("engine", ON_PROCESSORS)
def test_what_is_right_is_animated_once_and_its_result_kept(
    bundle: Bundle, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "maskanim.runtime.verification.read_golden", lambda bundle: seen.append(bundle) or golden_of(bundle)
    )
    for again in (False, False, True):
        open_runner(bundle, engine, again=again)[0].close()
    assert len(seen) == 2  # the first time, and when it was asked for
    (kept,) = (models.home() / "verified").iterdir()
    assert min(json.loads(kept.read_text("utf-8")).values()) > 45
    kept.write_text("{", "utf-8")  # what cannot be read is found out anew
    open_runner(bundle, engine)[0].close()
    assert len(seen) == 3 and len(json.loads(kept.read_text("utf-8"))) == 4


def golden_of(bundle: Any) -> Any:
    from maskanim.golden import read_golden

    return read_golden(bundle)


def test_a_whole_frame_is_animated_also_when_a_result_was_kept(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory or a driver may have gone since: `auto` has to know before the first frame of a clip."""
    open_runner(bundle, "ort")[0].close()
    run = Session.run

    def fail(session: Session, *inputs: Any) -> Any:
        if session.spec.name == "h":
            raise MaskanimError("network h", "no memory", "some")
        return run(session, *inputs)

    monkeypatch.setattr(Session, "run", fail)
    with pytest.raises(MaskanimError, match="no memory"):
        open_runner(bundle, "ort")


def test_the_doctor_renders_the_golden_pairs_anew(bundle: Bundle) -> None:
    """Whatever was found before, as by another version of a driver that calls itself the same."""
    open_runner(bundle, "ort")[0].close()
    (kept,) = (models.home() / "verified").iterdir()
    right = kept.read_text("utf-8")
    kept.write_text(json.dumps(dict.fromkeys(NETWORKS, 10.0)), "utf-8")
    shown = json.loads(CliRunner().invoke(doctor, ["--json", "--model", str(bundle.path)]).stdout)
    assert {each["engine"]: each["runs"] for each in shown["engines"]}["ort"]
    assert kept.read_text("utf-8") == right


def test_auto_goes_on_to_the_next(
    bundle: Bundle, doctored: Callable[[NetworkName, str], Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, opener = doctored("l", "swapped"), openvino.open_runner
    monkeypatch.setattr(openvino, "open_runner", lambda bundle, options: opener(wrong, options))
    with Animator.open(bundle) as animator:
        assert animator.engine.name == "ort"
        assert animator.engine.passed_over["openvino"].startswith("engine openvino, network l: its coarse frame agrees")


def test_a_home_that_cannot_be_written_is_told_once(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    models.home().write_text("no folder", "utf-8")
    for _ in range(2):
        open_runner(bundle, "ort")[0].close()
    (told,) = [line for line in caplog.messages if "cannot be written" in line]
    assert told.startswith(f"note: {models.home()} cannot be written (") and "set MASKANIM_HOME to a folder" in told


def test_a_damaged_golden_file_is_noticed(bundle: Bundle, tmp_path: Path) -> None:
    content = (bundle.path / "golden.png").read_bytes()
    contents = {n: bundle.network(n).read_bytes() for n in NETWORKS}
    copy = write_bundle(tmp_path / "copy", bundle.manifest, contents, content)
    (copy.path / "golden.png").write_bytes(content[:-1])
    with pytest.raises(MaskanimError, match=r"golden\.png: \d+ bytes; expected \d+"):
        Bundle.open(copy.path)


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        ({"m": 59, "r": 58, "l": 55, "h": 55}, None),  # the demo with r, l and h in BF16
        ({"m": 59, "r": 38, "l": 44, "h": 46}, None),  # a flip at the threshold; the frame is right
        ({"m": 44, "r": 59, "l": 59, "h": 59}, "m"),
        ({"m": 59, "r": 29, "l": 59, "h": 59}, "r"),
        ({"m": 59, "r": 59, "l": 40, "h": 44}, "l"),  # from there on
        ({"m": 59, "r": 59, "l": 59, "h": 44}, "h"),
        ({"m": 59, "r": 38, "l": 59, "h": 44}, "h"),  # the flip is not to blame: l follows it, and is right
        ({"m": 59, "r": 38, "l": 40, "h": 44}, "r"),
        ({"m": 59, "r": 38, "l": 29, "h": 50}, "l"),
        ({"m": 59, "r": 59, "l": 59, "h": float("nan")}, "h"),
        ({"m": 59, "r": 38, "l": float("nan"), "h": float("nan")}, "l"),
    ],
)
def test_where_the_limits_are(found: dict[NetworkName, float], refused: str | None) -> None:
    if refused is None:
        _require(found, "trt")
        return
    with pytest.raises(MaskanimError, match=f"engine trt, network {refused}: "):
        _require(found, "trt")
