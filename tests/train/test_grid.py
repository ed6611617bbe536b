"""Sample grids: the rows of the runtime's grid, and held-out examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from maskanim.networks import Networks
from maskanim.ops import preprocess
from maskanim.spec import ModelSpec, Widths
from maskanim.train.grid import LATER, draw_grids, examples
from maskanim.train.puppets import Puppet
from maskanim.video import write_picture


def test_a_row_per_pair_and_training_goes_on() -> None:
    nets = Networks(ModelSpec(widths=Widths(m=4, r=4, l=8, h=4))).train()
    before = {name: value.clone() for name, value in nets.state_dict().items()}
    found = examples("synthetic", 2)
    assert found is not None
    source, driving = found
    grid = draw_grids(nets, source, driving)
    assert grid.shape == (2 * 256, 8 * 256, 3)
    np.testing.assert_array_equal(grid[256:, :256], Puppet(1, "test").frame(0).image)
    assert nets.training and all(torch.equal(before[name], value) for name, value in nets.state_dict().items())


def test_half_of_the_drivers_are_somebody_else() -> None:
    found = examples("synthetic", 4)
    assert found is not None
    source, driving = found
    assert source.shape == driving.shape == (4, 3, 256, 256)
    for i, who in enumerate((0, 1, 1, 2)):
        np.testing.assert_array_equal(driving[i : i + 1], preprocess(Puppet(who, "test").frame(LATER).image))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Strips of three flat frames: of clip i, frame k is 20 i + 5 k, in test/ with 10 more; and a damaged one."""
    for split, more in (("train", 0), ("test", 10)):
        (tmp_path / split).mkdir()
        for i in range(5):
            strip = np.concatenate([np.full((64, 64, 3), 20 * i + 5 * k + more, np.uint8) for k in range(3)], 1)
            write_picture(tmp_path / split / f"{i}.png", strip)
        (tmp_path / split / "2.png").write_text("text")
    return tmp_path


def levels(batch: torch.Tensor) -> list[int]:
    return [round(255 * image.mean().item()) for image in batch]


def test_examples_are_held_out_clips_where_there_are_some(data: Path) -> None:
    """First half: a later frame of the same clip; second half: of the clip before."""
    found = examples(data, 4)
    assert found is not None
    assert [levels(part) for part in found] == [[10, 30, 70, 90], [20, 40, 40, 80]]
    found = examples(data / "train", 2)
    assert found is not None
    assert [levels(part) for part in found] == [[0, 80], [10, 10]]


def test_an_empty_test_folder_holds_nothing_out(data: Path) -> None:
    for path in (data / "test").iterdir():
        path.unlink()
    found = examples(data, 4)
    assert found is not None
    assert [levels(part) for part in found] == [[0, 20, 60, 80], [10, 30, 30, 70]]


def test_examples_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("text")
    assert examples(tmp_path) is None
