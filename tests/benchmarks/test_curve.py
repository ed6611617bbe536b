"""Learning curves from logs."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from maskanim.benchmarks.cli import app
from maskanim.benchmarks.curve import Point, read_curve
from maskanim.errors import MaskanimError

LOG = "1,coarse,4\n1,learning_rate,0.5\n2,coarse,2\n2,learning_rate,0.5\n3,coarse,1\n3,frame,8\n3,learning_rate,0.25\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


def test_means_over_equal_numbers_of_steps(log: Path) -> None:
    """The last block has one step; a figure that came late is averaged over the steps that have it."""
    assert read_curve(log, 2) == [
        Point(2, "coarse", 3.0),
        Point(2, "learning_rate", 0.5),
        Point(3, "coarse", 1.0),
        Point(3, "frame", 8.0),
        Point(3, "learning_rate", 0.25),
    ]


def test_the_command_writes_table_and_picture(log: Path, tmp_path: Path) -> None:
    arguments = ["curve", str(log), "--every", "1", "--csv", str(tmp_path / "c.csv"), "--plot", str(tmp_path / "c.png")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "c.csv").read_text().splitlines()[:3] == ["step,name,value", "1,coarse,4", "1,learning_rate,0.5"]
    picture = cv2.imread(str(tmp_path / "c.png"))
    assert picture is not None and picture.std() > 5, "something is drawn"


@pytest.mark.parametrize(
    ("text", "told"), [("", "no steps"), ("1,coarse\n", "not lines of"), ("step,name,value\n", "not lines of")]
)
def test_what_is_no_log(text: str, told: str, log: Path) -> None:
    log.write_text(text)
    with pytest.raises(MaskanimError, match=told):
        read_curve(log, 2)
    log.unlink()
    with pytest.raises(MaskanimError, match="no such file"):
        read_curve(log, 2)
