"""The command on every odd input: a video, or one clear line and exit code 2; never a traceback or a stray file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from helpers.odd_inputs import DRIVING, SOURCES, Case, Moving
from maskanim.bundle import Bundle
from maskanim.runtime.cli import app
from maskanim.video import open_clip

FLAGS = {
    "audio": "--audio-track",
    "track": "--video-track",
}  # the others are called like the options of `open_clip` and `read_source`
# As a path of its own it is a folder of pictures, which the command takes for many sources: it holds none.
AS_MANY = {"folder": "a folder without pictures"}


def command(case: Case, given: dict[str, Any], model: Bundle, here: Path) -> tuple[int, str, list[str]]:
    options = given | {"--model": model.path, "--engine": "ort", "--output": here / "out.mp4"}
    for name, value in case.options.items():
        told = f"rgb{value}" if isinstance(value, tuple) else value
        options[FLAGS.get(name, f"--{name}")] = told
    values = [f"{name}={value}" for name, value in options.items()]
    result = CliRunner().invoke(app, [*values, "--no-provenance"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr, sorted(path.name for path in here.iterdir())


def check(case: Case, refusal: str, outcome: tuple[int, str, list[str]], here: Path) -> None:
    code, told, there = outcome
    if refusal:
        assert code == 2 and re.search(refusal, told), told
        assert told.startswith("error: ") and len(told.splitlines()) == 1 and not there
        return
    assert code == 0 and there == ["out.mp4"], told
    with open_clip(here / "out.mp4") as clip:
        frames = len(list(clip))
    if isinstance(case.expected, Moving):
        times = case.expected.times
        assert frames == (times if isinstance(times, int) else len(times)) or case.expected.warning
        assert not case.expected.warning or re.search(case.expected.warning, told)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", SOURCES)
def test_source(name: str, tmp_path: Path, here: Path, tiny_bundle: Bundle, tiny_clip: Path) -> None:
    case = SOURCES[name]
    refusal = AS_MANY.get(name) or (case.expected if isinstance(case.expected, str) else "")
    (tmp_path / "odd").mkdir()
    given = {"--source": case.make(tmp_path / "odd"), "--driving": tiny_clip}
    check(case, refusal, command(case, given, tiny_bundle, here), here)


@pytest.mark.parametrize("name", [name for name, case in DRIVING.items() if "whole" not in case.options])
def test_driving(name: str, tmp_path: Path, here: Path, tiny_bundle: Bundle, picture: Path) -> None:
    case = DRIVING[name]
    refusal = {"folder without pictures": "a folder without clips"}.get(name)
    refusal = refusal or (case.expected if isinstance(case.expected, str) else "")
    (tmp_path / "odd").mkdir()
    given = {"--source": picture, "--driving": case.make(tmp_path / "odd")}
    check(case, refusal, command(case, given, tiny_bundle, here), here)
