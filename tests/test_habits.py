"""What a project needs that others carry on: files that others' tools read, and that they say what is true."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import maskanim
from helpers.blocks import blocks

ROOT = Path(__file__).resolve().parents[1]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_ci_and_hooks_run_what_has_to_pass() -> None:
    steps = read(".github/workflows/ci.yml")["jobs"]["run"]["steps"]
    assert any(step.get("run") == ".ci/run" for step in steps)
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "sh")
    assert any(step.get("run") == first.code.strip() for step in steps), (
        "the README's first command is run as it stands"
    )
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert any(hook["entry"] == ".ci/run" and hook["always_run"] for hook in hooks)
    run = (ROOT / ".ci/run").read_text("utf-8")
    for hook in hooks:
        program = hook["entry"].removeprefix(".venv-dev/bin/")
        assert program == ".ci/run" or program in run, f"{program} is not among what .ci/run runs"


def test_a_hook_finds_what_ci_would_find(tmp_path: Path) -> None:
    """The hooks' commands on a file with an unused import."""
    bad = tmp_path / "bad.py"
    bad.write_text("import os\n")
    hook = next(h for h in read(".pre-commit-config.yaml")["repos"][0]["hooks"] if h["id"] == "ruff-check")
    program = ROOT / hook["entry"].split()[0]
    if not program.exists():
        pytest.skip("the hooks use the environment of the README's test command, which is not here")
    found = subprocess.run([program, "check", bad], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "F401" in found.stdout


@pytest.mark.parametrize("name", ["bug", "wish"])
def test_issues_are_asked_for_what_the_doctor_says(name: str) -> None:
    template = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    asked = {field["id"]: field for field in template["body"]}
    assert "maskanim-doctor --json" in asked["doctor"]["attributes"]["label"]
    assert asked["doctor"].get("validations", {}).get("required", False) is (name == "bug")


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = read("CITATION.cff")
    assert citation["version"] == maskanim.__version__
    assert citation["preferred-citation"]["title"] == "Image Animation with Perturbed Masks"


def test_the_changelog_tells_of_this_version() -> None:
    assert f"\n## {maskanim.__version__}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")
