"""Checkpoints on the disk: the last few, last.pt, and which of them a run goes on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from maskanim.checkpoint import Checkpoint
from maskanim.errors import MaskanimError
from maskanim.train import saving
from maskanim.train.data import open_data
from maskanim.train.saving import read_checkpoint, read_weights, save_checkpoint
from maskanim.train.settings import TrainSettings


def checkpoint(step: int, **settings: Any) -> Checkpoint:
    values = TrainSettings(**settings).model_dump(mode="json")
    return Checkpoint(values, {"w": torch.full((2,), float(step))}, {}, step, {"data_files": "abc"})


def step_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["step"])


@pytest.mark.parametrize("links", [True, False])
def test_the_last_few_stay_and_last_is_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    if not links:
        monkeypatch.setattr(saving.os, "link", refuse)
    for step in (5, 90, 100, 20_000_000):
        save_checkpoint(checkpoint(step), tmp_path, keep=2)
        assert step_of(tmp_path / "last.pt") == step
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["last.pt", "step-0000100.pt", "step-20000000.pt"]


def test_a_failure_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(checkpoint(1), tmp_path, keep=1)

    def fill_the_disk(values: object, file: Any) -> None:
        file.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(MaskanimError, match=r"step-0000002\.pt: cannot be written"):
        save_checkpoint(checkpoint(2), tmp_path, keep=1)
    assert step_of(tmp_path / "last.pt") == step_of(tmp_path / "step-0000001.pt") == 1
    assert not (tmp_path / "step-0000002.pt").exists()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(**changes: Any) -> Path:
        dataclasses.replace(checkpoint(1500, epochs=3), **changes).save(tmp_path / "last.pt")
        return tmp_path / "last.pt"

    return save


def test_settings_of_an_earlier_version_mean_what_they_meant(saved: Callable[..., Path]) -> None:
    """Fields that it did not know have defaults that are what it did."""
    newer = {
        "stages", "layer_weights", "blur", "colour_target", "noise", "sync_batch_norm", "ablations", "watch", "cheaper",
        "animation_pass", "detail_weight", "average", "int8"
    }  # fmt: skip
    old = {name: value for name, value in checkpoint(0, epochs=3).settings.items() if name not in newer}
    assert len(old) == len(TrainSettings.model_fields) - len(newer)
    assert read_checkpoint(saved(settings=old), TrainSettings(epochs=3), "abc").step == 1500


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 300},
        {"epochs": 3, "watch": {"patience": 10}},
        {"epochs": 3, "decay_epochs": [2]},
        {"epochs": 9, "stages": [{"from_epoch": 2, "learning_rate": 1.0, "trains": "low_res"}]},
    ],
)
def test_what_is_ahead_may_change(saved: Callable[..., Path], settings: dict[str, Any]) -> None:
    """Step 1500 is in the second epoch, number 1."""
    assert read_checkpoint(saved(), TrainSettings(**settings), "abc").step == 1500


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"batch": 8}, "other settings (batch)"),
        ({"seed": 1, "noise": 0.1}, "other settings (noise, seed)"),
        ({"decay_epochs": [1]}, "other settings (learning_rate of the epochs that are done)"),
        ({"stages": [{"from_epoch": 0, "trains": "low_res"}]}, "other settings (high_res of the epochs that are done)"),
    ],
)
def test_what_is_done_may_not(saved: Callable[..., Path], settings: dict[str, Any], told: str) -> None:
    with pytest.raises(MaskanimError) as error:
        read_checkpoint(saved(), TrainSettings(**settings), "abc")
    assert told in str(error.value)


def test_settings_of_a_later_version_are_named(saved: Callable[..., Path]) -> None:
    path = saved(settings=checkpoint(0).settings | {"magic": 1})
    with pytest.raises(MaskanimError, match=r"settings that are not known here \(magic\)"):
        read_checkpoint(path, TrainSettings(), "abc")


def test_other_clips(saved: Callable[..., Path]) -> None:
    with pytest.raises(MaskanimError, match="a run on other clips"):
        read_checkpoint(saved(), TrainSettings(epochs=3), "abcd")
    assert read_checkpoint(saved(provenance={}), TrainSettings(epochs=3), "abcd").step == 1500


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_not_begun_with(saved: Callable[..., Path], value: float) -> None:
    networks = {"m.head.bias": torch.tensor([1.0]), "h.head.weight": torch.tensor([0.0, value])}
    with pytest.raises(MaskanimError, match=r"--init .*: NaN or infinite values in h\.head\.weight; expected finite"):
        read_weights(saved(networks=networks), TrainSettings(epochs=3), open_data("synthetic", TrainSettings()))
