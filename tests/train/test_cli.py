"""maskanim-train as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from maskanim.checkpoint import load_own
from maskanim.train.cli import app


def call(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return result.exit_code, result.stdout + result.stderr


def test_train_then_resume(small_config: Path, tmp_path: Path) -> None:
    arguments = ("--config", small_config, "--data", "synthetic", "--out", tmp_path / "run", "--workers", 0)
    code, told = call(*arguments, "--max-steps", 1)
    assert code == 0 and "1 of 8 steps done" in told and "maskanim-export --ckpt" in told
    code, told = call(*arguments, "--max-steps", 2, "--resume")
    assert code == 0 and "3 of 8 steps done" in told
    checkpoint = load_own(torch.load(tmp_path / "run" / "last.pt", weights_only=True))
    assert checkpoint is not None and checkpoint.step == 3
    assert checkpoint.provenance["perceptual"] == "none" and checkpoint.provenance["seed"] == 0


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "last.pt").write_bytes(b"not a checkpoint")
    return tmp_path / "earlier"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"--config": "nothing"}, "neither a preset nor a file"),
        ({"--data": "vox"}, "--data vox: not a known data set; expected synthetic"),
        ({"--device": "cuda:9"}, "--device cuda:9: no such device here"),
        ({"--out": "earlier"}, "Add --resume"),
        ({"--out": "earlier", "--resume": None}, "last.pt: a damaged, cut off or foreign file"),
        ({"--out": "new", "--resume": None}, "no last.pt"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    small_config: Path, tmp_path: Path, earlier: Path, changes: dict[str, str | None], told: str
) -> None:
    options = {"--config": str(small_config), "--data": "synthetic", "--out": "new"} | changes
    options["--out"] = str(tmp_path / str(options["--out"]))
    code, output = call(*(part for pair in options.items() for part in pair if part is not None))
    assert code == 2 and told in output and len(output.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
    assert (earlier / "last.pt").read_bytes() == b"not a checkpoint"
