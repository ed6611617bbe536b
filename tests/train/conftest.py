"""Settings small enough to train a few steps in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from maskanim.train.data.pairs import Pairs
from maskanim.train.launch import open_fabric
from maskanim.train.loop import RunOptions, run
from maskanim.train.saving import LAST, read_checkpoint
from maskanim.train.settings import TrainSettings, load_settings
from maskanim.train.trainer import Trainer

SMALL = {
    "model": {"widths": {"m": 4, "r": 4, "l": 8, "h": 4}},
    "perceptual": "none",
    "lambda_pixel": 10,
    "batch": 2,
    "steps_per_epoch": 2,
    "epochs": 3,
    "decay_epochs": [1, 2],
    "identities": 8,
    "warmup": {"steps": 2, "batch": 4, "fade_steps": 2, "weight": 1.0, "gain_steps": 3, "learning_rate": 0.001},
}

MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def small_config(tmp_path: Path) -> Path:
    """A YAML file of settings: two steps of warm-up and three epochs of two steps."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


@pytest.fixture
def settings(small_config: Path) -> TrainSettings:
    """Those settings."""
    return load_settings(str(small_config), {})


@pytest.fixture
def make_trainer() -> MakeTrainer:
    """A trainer on the CPU, in a single process."""

    def make(settings: TrainSettings, pairs: Pairs | None = None, **options: Any) -> Trainer:
        return Trainer(settings, open_fabric("cpu", settings.precision), None, pairs, **options)

    return make


class _Steps:
    """Progress that calls a function with the number of steps done."""

    def __init__(self, after: Callable[[int], None]) -> None:
        self.after = after

    def update(self, done: int, total: int | None, note: str = "") -> None:
        self.after(done)


@pytest.fixture
def train(make_trainer: MakeTrainer) -> Callable[..., Trainer]:
    """Train in a folder, from its last checkpoint if asked to.

    `prepare` is called with the trainer before the first step, `after` with the number of each step that is done.
    """

    def train(settings: TrainSettings, out: Path, *, resume: bool = False, **options: Any) -> Trainer:
        trainer = make_trainer(settings)
        if resume:
            trainer.restore(read_checkpoint(out / LAST, settings, trainer.pairs.fingerprint))
        options.pop("prepare", lambda trainer: None)(trainer)
        progress = _Steps(options.pop("after", lambda step: None))
        run(trainer, RunOptions(out, {"seed": 0}, workers=0, **options), progress)
        return trainer

    return train


@pytest.fixture
def two_pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Sources and drivers of a sample grid of two rows."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, 2, 3, 256, 256, generator=generator))  # type: ignore[return-value]
