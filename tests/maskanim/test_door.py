"""What a newcomer meets first: the import, and the one command with all others below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

import maskanim
from maskanim.cli import COMMANDS, app

SECONDS = 0.5  # 13 ms on an idle machine; the list of packages is the sharp test, this one finds a slow import


def test_importing_the_package_is_at_once_and_brings_in_no_other() -> None:
    code = "import sys; before = {*sys.modules}; import maskanim; print(*{*sys.modules} - before)"
    shown = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in shown.stdout.split()} - set(sys.stdlib_module_names)
    assert packages <= {"maskanim", "openvino_telemetry"}
    (cumulative,) = re.findall(r"\|\s*(\d+) \| maskanim$", shown.stderr, re.MULTILINE)
    assert int(cumulative) < SECONDS * 1e6


def test_the_animator_is_there_when_it_is_asked_for() -> None:
    from maskanim.runtime.animator import Animator

    assert maskanim.Animator is Animator
    with pytest.raises(AttributeError, match="no attribute animator"):
        _ = maskanim.animator  # type: ignore[attr-defined]


def test_every_command_is_a_sub_command_of_one() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).stdout
    for name, module in COMMANDS.items():
        assert re.search(rf"^\W*{name} ", shown, re.MULTILINE), name
        assert callable(import_module(module).main)
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


def test_a_sub_command_answers_as_the_command_of_its_own() -> None:
    shown = CliRunner().invoke(app, ["run", "--source", "a.jpg"])
    assert shown.exit_code == 2 and "maskanim-run: no --driving" in shown.stderr
    shown = CliRunner().invoke(app, ["run"])
    assert shown.exit_code == 2 and "maskanim-run: no --source and --driving" in shown.stderr


@pytest.mark.parametrize(
    ("typed", "word", "proposed"), [("maskanim d", 1, "doctor"), ("maskanim run --cr", 2, "--crop")]
)
def test_the_shell_completes(typed: str, word: int, proposed: str) -> None:
    asked = {"_MASKANIM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(word)}
    code = "import sys; sys.argv[0] = 'maskanim'; from maskanim.cli import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert proposed in shown.stdout.split()


def test_python_that_is_started_in_a_checkout_finds_all_of_it() -> None:
    """As where it is installed without -e: what lies in the current folder is found first."""
    root = Path(__file__).resolve().parents[2]
    code = (
        "import sys; sys.meta_path = [each for each in sys.meta_path if 'ditable' not in repr(each)]; import maskanim; "
    )
    code += "print(maskanim.Animator.__name__); import maskanim.train.settings"
    shown = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert shown.stdout == "Animator\n" and not shown.returncode, shown.stderr
