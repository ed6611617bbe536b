"""The loop: stages, schedule, gains, exact resume, and that it learns."""

from __future__ import annotations

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from maskanim.checkpoint import load_own, read_file
from maskanim.errors import MaskanimError
from maskanim.networks import Networks
from maskanim.train.settings import MaskWatch, TrainSettings
from maskanim.train.step import floats
from maskanim.train.trainer import Trainer, compile_bodies

Train = Callable[..., Trainer]
MakeTrainer = Callable[..., Trainer]
FIGURES = {"mask_mean", "mask_deviation", "gradient", "learning_rate"}


def losses(out: Path) -> list[list[str]]:
    """The log without its timings."""
    with (out / "log.csv").open() as file:
        return [row for row in csv.reader(file) if row[1] != "images_per_second"]


def test_stages_follow_the_settings(
    settings: TrainSettings, train: Train, tmp_path: Path, two_pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Warm-up of m alone, l and m and h from the first epoch, r from the second; figures fade out."""
    train(settings, tmp_path / "run", examples=two_pictures)
    terms: dict[int, set[str]] = {}
    for step, name, _ in losses(tmp_path / "run"):
        terms.setdefault(int(step), set()).add(name)
    stages = [terms[step] - FIGURES for step in sorted(terms)]
    first = {"coarse", "frame", "figure"}
    assert stages == [{"figure"}] * 2 + [first] * 2 + [{"coarse", "frame", "mask"}] * 4
    assert len(list((tmp_path / "run" / "grids").iterdir())) == 4, "one at the end of each epoch"
    assert [path.name for path in sorted((tmp_path / "run").glob("*.pt"))] == [
        "last.pt", "step-0000004.pt", "step-0000006.pt", "step-0000008.pt"
    ]  # fmt: skip
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_how_often_is_settable(
    settings: TrainSettings, train: Train, tmp_path: Path, two_pictures: tuple[torch.Tensor, torch.Tensor]
) -> None:
    plan: dict[str, Any] = {"save_every": 3, "grid_every": 5, "keep": 2, "examples": two_pictures}
    train(settings, tmp_path / "run", **plan)
    assert [path.name for path in sorted((tmp_path / "run").glob("step-*.pt"))] == [
        "step-0000006.pt",
        "step-0000008.pt",
    ]
    assert [path.name for path in sorted((tmp_path / "run/grids").iterdir())] == [
        "step-0000005.png", "step-0000008.png"
    ]  # fmt: skip


def test_a_resumed_run_repeats_the_uninterrupted_losses(settings: TrainSettings, train: Train, tmp_path: Path) -> None:
    whole = train(settings, tmp_path / "whole")
    train(settings, tmp_path / "parts", max_steps=3)
    train(settings, tmp_path / "parts", max_steps=2, resume=True)
    parts = train(settings, tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for name, value in whole.nets.state_dict().items():
        assert torch.equal(value, parts.nets.state_dict()[name]), name


def test_an_animation_pass_counts_for_what_batch_norm_remembers(
    settings: TrainSettings, train: Train, tmp_path: Path
) -> None:
    """Of r and l, and while they learn; the warm-up of two steps and the first epoch of two are before r starts."""
    changed = settings.model_copy(update={"animation_pass": True})
    plain, other = (train(each, tmp_path / str(i)) for i, each in enumerate((settings, changed)))
    seen = [
        {
            name: int(trainer.nets.state_dict()[f"{name}.num_batches_tracked"])
            for name in ("l.first.1", "m.hourglass.down_blocks.0.norm")
        }
        for trainer in (plain, other)
    ]
    assert [each["l.first.1"] for each in seen] == [6, 10]
    assert len({each["m.hourglass.down_blocks.0.norm"] for each in seen}) == 1


def test_the_average_of_the_weights_is_kept_beside_them(settings: TrainSettings, train: Train, tmp_path: Path) -> None:
    """It begins with the first step, follows each one, is resumed, and changes nothing in what is learned."""
    plain = train(settings, tmp_path / "plain")
    settings = settings.model_copy(update={"average": 0.75})
    wanted: dict[str, torch.Tensor] = {}
    running: list[Trainer] = []

    def follow(step: int) -> None:
        for name, value in running[0].nets.named_parameters():
            wanted[name] = value.detach().clone() if step == 1 else wanted[name].lerp(value.detach(), 0.25)

    train(settings, tmp_path / "whole", prepare=running.append, after=follow)
    train(settings, tmp_path / "parts", max_steps=3)
    train(settings, tmp_path / "parts", resume=True)
    whole, parts = (load_own(read_file(tmp_path / run / "last.pt", run).values) for run in ("whole", "parts"))
    assert whole and parts and whole.best.keys() == plain.nets.state_dict().keys()
    for name, value in plain.nets.state_dict().items():
        assert torch.equal(whole.networks[name], value), name
        assert torch.equal(whole.best[name], parts.best[name]), name
        torch.testing.assert_close(whole.best[name], wanted.get(name, value), msg=name)


def test_a_signal_saves_and_the_run_goes_on_exactly(settings: TrainSettings, train: Train, tmp_path: Path) -> None:
    def terminate(step: int) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    assert train(settings, tmp_path / "parts", save_every=100, after=terminate).step == 5
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    train(settings, tmp_path / "parts", resume=True)
    train(settings, tmp_path / "whole")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_another_seed_is_another_run(settings: TrainSettings, train: Train, tmp_path: Path) -> None:
    train(settings, tmp_path / "a", max_steps=2)
    train(settings.model_copy(update={"seed": 1}), tmp_path / "b", max_steps=2)
    assert losses(tmp_path / "a") != losses(tmp_path / "b")


def test_learning_rate_and_gains(settings: TrainSettings, make_trainer: MakeTrainer) -> None:
    """Rate: the warm-up's, then Adam's, multiplied by 0.1 when epochs 1 and 2 are complete. Gains rise to 10."""
    trainer = make_trainer(settings.model_copy(update={"mask_head_rate": 0.5}))
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


def test_warm_up_draws_the_figure(settings: TrainSettings, make_trainer: MakeTrainer) -> None:
    """Forty steps of m alone already tell figure from background."""
    warmup = settings.warmup.model_copy(update={"steps": 40, "batch": 8, "gain_steps": 0})
    trainer = make_trainer(settings.model_copy(update={"warmup": warmup}))
    figures = [trainer.train_step(batch)["figure"] for batch in trainer.data(40, workers=0)]
    assert sum(figures[-5:]) < 0.6 * sum(figures[:5])


@pytest.fixture
def in_training(settings: TrainSettings) -> TrainSettings:
    """Without a warm-up; all four networks learn from the first step."""
    warmup = {"steps": 0, "weight": 0.0}
    return settings.model_copy(
        update={"warmup": settings.warmup.model_copy(update=warmup), "refine_from_epoch": 0, "steps_per_epoch": 4}
    )


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("m", "step 0: coarse is nan, mask is nan, frame is nan; expected finite"),
        ("h", r"step 0: frame is nan \(coarse [\d.]+, mask [\d.]+\); expected finite"),
        ("r", r"step 0: mask is nan \(coarse [\d.]+, frame [\d.]+\); expected finite"),
    ],
)
def test_a_loss_that_is_not_finite_names_its_term(
    in_training: TrainSettings, make_trainer: MakeTrainer, broken: str, told: str
) -> None:
    trainer = make_trainer(in_training)
    getattr(trainer.nets, broken).head.bias.data.fill_(float("nan"))
    before = {name: value.clone() for name, value in trainer.nets.named_parameters()}
    with pytest.raises(MaskanimError, match=told) as error:
        trainer.train_step(next(iter(trainer.data(1, workers=0))))
    assert "learning_rate" in error.value.next_step and "Nothing of this step is kept" in error.value.next_step
    assert trainer.step == 0
    for name, value in trainer.nets.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def test_a_gradient_that_is_not_finite_names_its_network(in_training: TrainSettings, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(in_training)
    trainer.nets.l.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(MaskanimError, match="a gradient of l is not finite"):
        trainer.train_step(next(iter(trainer.data(1, workers=0))))


def test_nothing_of_a_bad_step_is_saved(in_training: TrainSettings, train: Train, tmp_path: Path) -> None:
    trainers: list[Trainer] = []

    def spoil(step: int) -> None:
        if step == 3:
            trainers[0].nets.h.head.bias.data.fill_(float("nan"))

    with pytest.raises(MaskanimError, match="step 3: frame is nan"):
        train(in_training, tmp_path / "run", save_every=2, prepare=trainers.append, after=spoil)
    assert [path.name for path in sorted((tmp_path / "run").glob("*.pt"))] == ["last.pt", "step-0000002.pt"]
    assert {int(step) for step, _, _ in losses(tmp_path / "run")} == {1, 2, 3}


@pytest.mark.parametrize(("bias", "found"), [(-50.0, "collapsed to zero"), (50.0, "saturated")])
def test_collapsed_masks_are_warned_of_and_then_stop_the_run(
    in_training: TrainSettings, train: Train, tmp_path: Path, bias: float, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In a saturated head the gradient is zero, so the masks stay where they are."""
    patient = in_training.model_copy(update={"watch": MaskWatch(window=2, patience=3)})
    with pytest.raises(MaskanimError, match=f"the masks of m at step 5: {found} .* since step 2") as error:
        train(
            patient,
            tmp_path / "run",
            prepare=lambda trainer: trainer.nets.m.head.bias.data.fill_(bias),
        )
    assert "gain_steps" in error.value.next_step and "mask_head_rate" in error.value.next_step
    lines = caplog.messages
    assert len(lines) == 1 and f"warning: the masks of m are {found} (mean" in lines[0]
    assert "If they stay so for 3 steps, training stops." in lines[0]


def test_compiled_bodies_are_the_same_networks(in_training: TrainSettings, make_trainer: MakeTrainer) -> None:
    """Names and values stay, and a rising gain compiles nothing anew."""
    gains = in_training.model_copy(
        update={"warmup": in_training.warmup.model_copy(update={"gain_steps": 100}), "steps_per_epoch": 9}
    )
    plain, compiled = make_trainer(gains), make_trainer(gains)
    count = torch._dynamo.utils.counters["stats"]
    compile_bodies(compiled.nets, backend="eager")
    graphs = []
    for batch in plain.data(4, workers=0):
        expected, got = plain.train_step(batch), compiled.train_step(batch)
        assert got == pytest.approx(expected, rel=1e-5)
        graphs.append(count["unique_graphs"])
    assert graphs[0] > 0 and graphs[1:] == graphs[:1] * 3
    assert list(compiled.nets.state_dict()) == list(plain.nets.state_dict())


def test_stages_let_networks_rest(settings: TrainSettings, make_trainer: MakeTrainer) -> None:
    """What rests stays as it is to the bit, its running statistics too; then it goes on."""
    stages = ({"from_epoch": 0, "trains": "low_res"}, {"from_epoch": 1, "trains": "high_res"}, {"from_epoch": 2})
    stages += ({"from_epoch": 3, "trains": "refine"},)
    changes = {"stages": stages, "warmup": {}, "steps_per_epoch": 1, "refine_from_epoch": 0}
    trainer = make_trainer(TrainSettings(**settings.model_dump() | changes))
    learned = []
    for batch in trainer.data(4, 0):
        before = {name: value.clone() for name, value in trainer.nets.state_dict().items()}
        figures = trainer.train_step(batch)
        after = trainer.nets.state_dict()
        learned.append({name.split(".")[0] for name in before if not torch.equal(before[name], after[name])})
        assert {"coarse", "mask", "frame"} & set(figures) == (
            {"coarse", "mask"}, {"frame"}, {"coarse", "mask", "frame"}, {"mask"}
        )[len(learned) - 1]  # fmt: skip
    assert learned == [set("mrl"), set("h"), set("mrlh"), set("r")]


def test_a_stage_that_normalises_by_what_is_remembered(settings: TrainSettings, make_trainer: MakeTrainer) -> None:
    """Weights learn, statistics stay to the bit, and the gradient is that of the networks as they animate."""
    stages = ({"from_epoch": 0, "norm": "running"}, {"from_epoch": 1})
    changes = {"stages": stages, "warmup": {}, "steps_per_epoch": 1, "refine_from_epoch": 0, "high_res_from_epoch": 0}
    same_colours = {"colour_scale": 0, "colour_hue": 0}
    trainer = make_trainer(TrainSettings(**settings.model_dump() | changes | same_colours))
    animating, kinds = Networks(trainer.settings.model).eval(), []
    animating.load_state_dict(trainer.nets.state_dict())
    for i, batch in enumerate(trainer.data(2, 0)):
        before = {name: value.clone() for name, value in trainer.nets.state_dict().items()}
        figures = trainer.train_step(batch)
        after = trainer.nets.state_dict()
        kinds.append({"running" in name for name in before if not torch.equal(before[name], after[name])})
        if i == 0:
            source, driving = floats(batch.source), floats(batch.driving)
            animating.m.gain = trainer.nets.m.gain
            with torch.no_grad():
                masks = animating.m(torch.cat((source, driving))).chunk(2)
            assert figures["mask_mean"] == pytest.approx(torch.cat(masks)[..., 3:-3, 3:-3].mean().item(), abs=1e-3)
    assert kinds == [{False}, {False, True}]
