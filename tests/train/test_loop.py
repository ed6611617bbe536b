"""The loop: stages, schedule, gains, exact resume, and that it learns."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from maskanim.checkpoint import load_own
from maskanim.errors import MaskanimError
from maskanim.train.loop import Trainer, run
from maskanim.train.settings import TrainSettings, load_settings

CPU = torch.device("cpu")


@pytest.fixture
def settings(small_config: Path) -> TrainSettings:
    return load_settings(str(small_config), {})


def losses(out: Path) -> list[list[str]]:
    """The log without its timings."""
    with (out / "log.csv").open() as file:
        return [row for row in csv.reader(file) if row[1] != "pairs_per_second"]


def train(settings: TrainSettings, out: Path, max_steps: int = 1000, resume: bool = False) -> Trainer:
    out.mkdir(exist_ok=True)
    trainer = Trainer(settings, CPU)
    if resume:
        checkpoint = load_own(torch.load(out / "last.pt", weights_only=True))
        assert checkpoint is not None
        trainer.restore(checkpoint)
    run(trainer, out, max_steps=max_steps, workers=0, provenance={"seed": 0}, report=lambda step, figures: None)
    return trainer


def test_stages_follow_the_settings(settings: TrainSettings, tmp_path: Path) -> None:
    """Warm-up of m alone, l and m and h from the first epoch, r from the second; figures fade out."""
    train(settings, tmp_path / "run")
    terms: dict[int, set[str]] = {}
    for step, name, _ in losses(tmp_path / "run"):
        terms.setdefault(int(step), set()).add(name)
    stages = [terms[step] - {"mask_mean", "mask_deviation"} for step in sorted(terms)]
    first = {"coarse", "frame", "figure"}
    assert stages == [{"figure"}] * 2 + [first] * 2 + [{"coarse", "frame", "mask"}] * 4
    assert len(list((tmp_path / "run" / "grids").iterdir())) == 4


def test_a_resumed_run_repeats_the_uninterrupted_losses(settings: TrainSettings, tmp_path: Path) -> None:
    whole = train(settings, tmp_path / "whole")
    train(settings, tmp_path / "parts", max_steps=3)
    train(settings, tmp_path / "parts", max_steps=2, resume=True)
    parts = train(settings, tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for name, value in whole.nets.state_dict().items():
        assert torch.equal(value, parts.nets.state_dict()[name]), name


def test_another_seed_is_another_run(settings: TrainSettings, tmp_path: Path) -> None:
    train(settings, tmp_path / "a", max_steps=2)
    train(settings.model_copy(update={"seed": 1}), tmp_path / "b", max_steps=2)
    assert losses(tmp_path / "a") != losses(tmp_path / "b")


def test_learning_rate_and_gains(settings: TrainSettings) -> None:
    """Rate: the warm-up's, then Adam's, multiplied by 0.1 when epochs 1 and 2 are complete. Gains rise to 10."""
    trainer = Trainer(settings.model_copy(update={"mask_head_rate": 0.5}), CPU)
    seen = []
    for step in range(8):
        trainer.step = step
        trainer._set_rates(trainer.place())
        body, heads = (group["lr"] for group in trainer.optimizer.param_groups)
        assert heads == body / 2
        seen.append((round(body, 12), trainer.nets.m.gain, trainer.nets.r.gain))
    assert [rate for rate, _, _ in seen] == [1e-3] * 2 + [2e-4] * 2 + [2e-5] * 2 + [2e-6] * 2
    assert [gain for _, gain, _ in seen] == [1, 4, 7] + [10] * 5
    assert [gain for _, _, gain in seen] == [1] * 5 + [4, 7, 10]


def test_warm_up_draws_the_figure(settings: TrainSettings) -> None:
    """Forty steps of m alone already tell figure from background."""
    warmup = settings.warmup.model_copy(update={"steps": 40, "batch": 8, "gain_steps": 0})
    trainer = Trainer(settings.model_copy(update={"warmup": warmup}), CPU)
    figures = [trainer.train_step(batch)["figure"] for batch in trainer.data(40, workers=0)]
    assert sum(figures[-5:]) < 0.6 * sum(figures[:5])


def test_a_loss_that_is_not_finite_stops_the_run(settings: TrainSettings) -> None:
    trainer = Trainer(settings, CPU)
    batch = next(trainer.data(1, workers=0))
    before = {name: value.clone() for name, value in trainer.nets.named_parameters()}
    trainer.nets.m.head.bias.data.fill_(float("nan"))
    with pytest.raises(MaskanimError, match="step 0: a loss of nan"):
        trainer.train_step(batch)
    changed = [n for n, value in trainer.nets.named_parameters() if not torch.equal(value, before[n])]
    assert changed == ["m.head.bias"]
