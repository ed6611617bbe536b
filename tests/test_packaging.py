"""The project as it is installed: every package listed, the commands that exist, and what the README promises."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAPPED = PROJECT["tool"]["setuptools"]["package-dir"]


def test_every_package_on_disk_is_listed() -> None:
    """A package missing from the list works in an editable install and vanishes from the wheel."""
    folders = {"maskanim": ROOT / "maskanim"} | {name: ROOT / folder for name, folder in MAPPED.items()}
    found = {
        ".".join((name, *init.parent.relative_to(folder).parts))
        for name, folder in folders.items()
        for init in folder.rglob("__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("command", PROJECT["project"]["scripts"])
def test_every_command_explains_itself(command: str) -> None:
    module, function = PROJECT["project"]["scripts"][command].split(":")
    assert callable(getattr(import_module(module), function))
    code = f"import sys; sys.argv = [{command!r}, '--help']; from {module} import {function}; {function}()"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert shown.returncode == 0 and "Usage" in shown.stdout


def test_help_needs_no_heavy_library() -> None:
    """Commands answer --help and mistakes at once: torch, onnx and the engines are imported where they are used."""
    modules = [target.split(":")[0] for target in PROJECT["project"]["scripts"].values()]
    code = "import sys\n" + "".join(f"import {module}\n" for module in modules) + "print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "onnx", "onnxruntime", "openvino", "tensorrt", "kornia", "yaml"} & set(loaded)


def test_an_extra_is_added_to_what_is_installed_where_no_index_has_it() -> None:
    """As messages tell, from any folder."""
    pytest.importorskip("pip", reason="pip itself is not installed here")
    arguments = ["install", "--dry-run", "--no-index", "--no-deps", "maskanim[heic]"]
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], cwd=ROOT / "docs", capture_output=True, text=True)
    assert done.returncode == 0 and "already satisfied: maskanim[heic]" in done.stdout, done.stderr


def test_the_readme_begins_with_the_run_command_and_the_test_command() -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    run, test = (block.strip() for block in blocks[:2])
    assert "\n" not in run and run.endswith("maskanim-run --demo")
    assert test == "tests/run" and f"\n{test} " in (ROOT / ".ci" / "run").read_text("utf-8")


def test_the_readme_names_only_files_that_exist() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)|src=\"([^\":]+)\"", (ROOT / "README.md").read_text("utf-8"))
    missing = [target for pair in targets for target in pair if target and not (ROOT / target).exists()]
    assert not missing
