"""The choice of precisions, on networks that take as long as a test says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import toys
from maskanim import models
from maskanim.bundle import Bundle, Int8
from maskanim.errors import MaskanimError
from maskanim.ops import Array
from maskanim.runtime.sessions import precision
from maskanim.runtime.sessions.precision import Library, Precision, Precisions, open_in_best
from maskanim.runtime.sessions.session import Session
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName

USUAL: Precisions = {"m": "fp32", "r": "bf16", "l": "bf16", "h": "bf16"}
SLOW, FAST = 0.006, 0.001  # seconds
CLOCK = [0.0]  # a clock that only runs of networks move
FRAME_PSNR = {"m": 43.0, "r": 52.0, "l": 52.0, "h": 50.0, "rl": 51.0, "rh": 49.0, "lh": 48.0, "rlh": 46.0}


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(precision, "perf_counter", lambda: CLOCK[0])


@pytest.fixture(scope="module")
def golden_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return toys.golden_bundle(tmp_path_factory.mktemp("golden"))


def with_int8(bundle: Bundle, golden: bool = False, **changes: Any) -> Bundle:
    """The bundle with figures as if it had been quantised; without golden pairs, which these sessions do not give."""
    values: dict[str, Any] = {
        "networks": ("r", "l", "h"),
        "least_psnr": 40,
        "calibrated": "",
        "measured": "",
        "ranges": {},
        "frame_psnr": FRAME_PSNR,
        "network_psnr": {},
        "threshold_flips": {},
        "mask_pixels": 1,
    }
    update: dict[str, Any] = {"int8": Int8(**(values | changes))}
    return Bundle(bundle.path, bundle.manifest.model_copy(update=update if golden else update | {"golden": None}))


class Timed:
    """A library whose networks take so many seconds in a precision; SLOW where nothing is said."""

    def __init__(self, **seconds: float) -> None:
        self.seconds, self.opened, self.runs = seconds, [], 0
        self.open_sessions: list[Session] = []
        self.failing: set[str] = set()

    @property
    def library(self) -> Library:
        return Library("a library", USUAL, self.open_network)

    def open_network(self, name: NetworkName, kind: Precision) -> Session:
        key = f"{name}_{kind}"
        self.opened.append(key)
        if key in self.failing:
            raise MaskanimError(f"network {name}", "an instruction that is not there", "one that is")

        def infer(_: Sequence[Array]) -> Array:
            self.runs += 1
            CLOCK[0] += self.seconds.get(key, SLOW)
            return np.zeros(NETWORKS[name].output.shape(1), np.float32)

        self.open_sessions.append(Session(NETWORKS[name], "a library", infer))
        return self.open_sessions[-1]


INT8_GAINS = {"r_int8": FAST, "l_int8": FAST, "h_int8": FAST}


def told(bundle: Bundle, timed: Timed, least_psnr: float = 45) -> str:
    sessions, line = open_in_best(bundle, timed.library, least_psnr)
    assert list(sessions) == list(NETWORK_NAMES)
    left = [session for session in timed.open_sessions if session._infer is not None]
    assert sorted(map(id, left)) == sorted(map(id, sessions.values()))  # those of the others are closed
    for session in sessions.values():
        session.close()
    return line


def test_what_is_fastest_and_allowed_is_taken_and_kept(tiny_bundle: Bundle) -> None:
    bundle, timed = with_int8(tiny_bundle), Timed(**INT8_GAINS)
    assert told(bundle, timed) == "r and l and h in INT8, as measured here"
    assert timed.runs > 0
    later = Timed(**{key: 1.0 for key in INT8_GAINS})  # what would take longest now
    assert told(bundle, later) == "r and l and h in INT8, as measured here"
    assert later.runs == 0 and sorted(later.opened) == ["h_int8", "l_int8", "m_fp32", "r_int8"]


@pytest.mark.parametrize(
    ("least_psnr", "expected"),
    [
        (46, "r and l and h in INT8, as measured here"),
        (47, "l and h in INT8, r in BF16, as measured here"),
        (51.5, "l in INT8, r and h in BF16, as measured here"),  # r and l together keep 51
        (60, "r and l and h in BF16"),  # nothing to measure
    ],
)
def test_no_set_that_keeps_less_than_asked_for(tiny_bundle: Bundle, least_psnr: float, expected: str) -> None:
    timed = Timed(r_int8=FAST, l_int8=FAST / 2, h_int8=FAST / 2)
    assert told(with_int8(tiny_bundle), timed, least_psnr) == expected


def test_small_gains_change_nothing(tiny_bundle: Bundle) -> None:
    timed = Timed(r_int8=0.95 * SLOW, l_int8=0.97 * SLOW, h_int8=2 * SLOW, l_fp32=0.97 * SLOW)
    assert told(with_int8(tiny_bundle), timed) == "r and l and h in BF16, as measured here"


def test_float32_is_a_candidate_too(tiny_bundle: Bundle) -> None:
    assert told(with_int8(tiny_bundle), Timed(l_fp32=FAST, h_int8=FAST)) == "h in INT8, r in BF16, as measured here"


def test_a_processor_that_cannot_run_int8_does_not(tiny_bundle: Bundle) -> None:
    timed = Timed(**INT8_GAINS)
    timed.failing = {"h_int8", "r_fp32"}
    assert told(with_int8(tiny_bundle), timed) == "r and l in INT8, h in BF16, as measured here"
    timed.failing = {"h_bf16"}
    (models.home() / "measured").rename(models.home() / "elsewhere")
    with pytest.raises(MaskanimError, match="network h: an instruction"):
        open_in_best(with_int8(tiny_bundle), timed.library, 45)


def test_golden_pairs_have_the_last_word(golden_bundle: Bundle) -> None:
    """These sessions give black, as 8-bit products that overflow may."""
    assert told(with_int8(golden_bundle, golden=True), Timed(**INT8_GAINS)) == "r and l and h in BF16, as measured here"


def test_the_next_set_is_tried_where_one_does_not_keep_the_golden_frames(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, kept = Timed(r_int8=FAST, l_int8=FAST / 2, h_int8=FAST / 2), iter([False, True])
    monkeypatch.setattr(precision, "_keeps", lambda *_: next(kept))
    assert told(with_int8(tiny_bundle), timed) == "l and h in INT8, r in BF16, as measured here"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"m": "fp8", "r": "int8", "l": "int8", "h": "int8"}'])
def test_what_cannot_be_read_is_measured_anew(tiny_bundle: Bundle, content: str) -> None:
    bundle = with_int8(tiny_bundle)
    told(bundle, Timed(**INT8_GAINS))
    (kept,) = (models.home() / "measured").iterdir()
    kept.write_text(content)
    assert told(bundle, Timed(l_int8=FAST)) == "l in INT8, r and h in BF16, as measured here"
    assert json.loads(kept.read_text()) == {"m": "fp32", "r": "bf16", "l": "int8", "h": "bf16"}


def test_a_choice_that_no_longer_loads_is_measured_anew(tiny_bundle: Bundle) -> None:
    bundle, timed = with_int8(tiny_bundle), Timed(**INT8_GAINS)
    told(bundle, timed)
    timed.failing = {"r_int8"}
    sessions, line = open_in_best(bundle, timed.library, 45)
    assert line == "l and h in INT8, r in BF16, as measured here" and len(sessions) == 4


def test_a_home_that_cannot_be_written(tiny_bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    models.home().write_text("no folder")
    assert told(with_int8(tiny_bundle), Timed(**INT8_GAINS)) == "r and l and h in INT8, as measured here"
    assert "so each start measures the model anew; set MASKANIM_HOME" in caplog.text


def test_another_bundle_library_processor_or_limit_is_measured_for_itself(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    bundle = with_int8(tiny_bundle)
    told(bundle, Timed())
    told(bundle, Timed(), 44)
    told(with_int8(tiny_bundle, measured="anew"), Timed())
    open_in_best(bundle, Timed().library._replace(name="another processor"), 45)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    told(bundle, Timed())
    assert len([*(models.home() / "measured").iterdir()]) == 5


def test_when_the_time_is_up_the_usual_precision_stays(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "BUDGET", 2 * SLOW)  # less than h's candidates take
    assert told(with_int8(tiny_bundle), Timed(**INT8_GAINS)) == "l and h in INT8, r in BF16, as measured here"


def test_without_figures_nothing_is_measured(tiny_bundle: Bundle) -> None:
    timed = Timed(**INT8_GAINS)
    assert told(tiny_bundle, timed) == "r and l and h in BF16" and timed.runs == 0
    assert not models.home().exists()
