"""The adversarial loss: what the discriminator learns, what frames learn from it, and when."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from maskanim.checkpoint import load_own, read_file
from maskanim.train.adversary import PENALTY_EVERY, Adversary, Discriminator, DiscriminatorLoss, Judged
from maskanim.train.launch import open_fabric
from maskanim.train.settings import Adversarial, TrainSettings
from maskanim.train.trainer import Trainer

SETTINGS = Adversarial(weight=3.0, features=2.0, width=4, learning_rate=5e-3)


@pytest.fixture
def fabric() -> Fabric:
    torch.manual_seed(0)
    return open_fabric("cpu", "fp32")


def judged(count: int = 2) -> Judged:
    """Frames that a mask has its place in, and blurs of them."""
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(count, 3, 256, 256, generator=generator)
    blurred = torch.nn.functional.avg_pool2d(real, 9, 1, 4)
    return Judged(real, torch.cat((blurred, 0.9 * blurred)), torch.rand(count, 1, 64, 64, generator=generator))


def test_it_learns_to_tell_made_frames_and_what_they_lack(fabric: Fabric) -> None:
    adversary, frames = Adversary(SETTINGS, fabric), judged()
    first = float(adversary.learn(frames, 0))
    for step in range(1, 25):
        adversary.optimizer.step()
        last = float(adversary.learn(frames, step))
    assert last < 0.3 * first
    verdicts = [adversary.net(images, frames.mask)[-1].mean() for images in (frames.real, frames.made[:2])]
    assert verdicts[0] > 0 > verdicts[1]
    assert adversary.loss(frames.real, frames.real, frames.mask) < adversary.loss(
        frames.made[:2], frames.real, frames.mask
    )


def test_frames_learn_and_the_discriminator_rests(fabric: Fabric) -> None:
    """The loss is the sum that its settings weight; of real frames it is their own verdict alone."""
    adversary, frames = Adversary(SETTINGS, fabric), judged()
    made = frames.made[:2].requires_grad_()
    loss = adversary.loss(made, frames.real, frames.mask)
    loss.backward()
    assert made.grad is not None and made.grad.any()
    assert all(parameter.grad is None for parameter in adversary.net.parameters())
    found, wanted = (adversary.net(images, frames.mask) for images in (made, frames.real))
    features = sum((a - b).abs().mean() for a, b in zip(found[:-1], wanted[:-1], strict=True))
    torch.testing.assert_close(loss, 3 * (2 * features - found[-1].mean()))
    torch.testing.assert_close(adversary.loss(frames.real, frames.real, frames.mask), -3 * wanted[-1].mean())


def test_the_penalty_is_on_the_gradient_at_real_frames() -> None:
    torch.manual_seed(0)
    net, frames = Discriminator(4), judged()
    plain, penalised = (DiscriminatorLoss(net, 0.5)(frames, penalised=each).item() for each in (False, True))
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, frames.mask)[-1].mean((1, 2, 3)), frames.real)
    own = torch.stack([jacobian[i, i] for i in range(len(frames.real))])
    assert penalised - plain == pytest.approx(
        PENALTY_EVERY * 0.5 / 2 * float(own.square().sum((1, 2, 3)).mean()), rel=1e-3
    )


def test_frames_may_come_in_bf16() -> None:
    """As autocast leaves them, also where the penalty goes without it."""
    torch.manual_seed(0)
    loss, frames = DiscriminatorLoss(Discriminator(4), 0.5), judged()
    rounded = Judged(*(each.bfloat16() for each in frames))
    assert loss(rounded, penalised=True).item() == pytest.approx(loss(frames, penalised=True).item(), rel=0.05)


def terms(out: Path) -> list[set[str]]:
    found: dict[int, set[str]] = {}
    with (out / "log.csv").open() as file:
        for step, name, _ in csv.reader(file):
            found.setdefault(int(step), set()).add(name)
    return [
        {name for name in found[step] if "adversarial" in name or name == "discriminator"} for step in sorted(found)
    ]


def test_it_counts_when_it_has_learned_and_where_frames_learn(
    settings: TrainSettings, train: Callable[..., Trainer], tmp_path: Path
) -> None:
    """Two steps of warm-up, three epochs of two: it learns from the second on, counts a step later, rests with l."""
    adversarial = SETTINGS.model_copy(update={"from_epoch": 1, "alone_steps": 1})
    stages: Any = [{"from_epoch": 2, "trains": "refine"}]
    changed = TrainSettings.model_validate(settings.model_dump() | {"adversarial": adversarial, "stages": stages})
    train(changed, tmp_path / "run")
    both = {"discriminator", "coarse_adversarial", "frame_adversarial"}
    assert terms(tmp_path / "run") == [set()] * 4 + [{"discriminator"}, both] + [set()] * 2


def test_a_run_goes_on_with_its_discriminator(
    settings: TrainSettings, train: Callable[..., Trainer], tmp_path: Path
) -> None:
    """Exactly, from a checkpoint that carries it; frames are other ones than without it."""
    changed = settings.model_copy(update={"adversarial": SETTINGS.model_copy(update={"alone_steps": 1})})
    train(settings, tmp_path / "plain")
    train(changed, tmp_path / "whole")
    train(changed, tmp_path / "parts", max_steps=5)
    train(changed, tmp_path / "parts", resume=True)
    plain, whole, parts = (
        load_own(read_file(tmp_path / each / "last.pt", each).values) for each in ("plain", "whole", "parts")
    )
    assert plain and whole and parts and not plain.discriminator
    weights = whole.discriminator["weights"]
    assert weights.keys() == Discriminator(4).state_dict().keys()
    for name, value in weights.items():
        assert torch.equal(value, parts.discriminator["weights"][name]), name
    for name, value in whole.networks.items():
        assert torch.equal(value, parts.networks[name]), name
    assert any(not torch.equal(value, plain.networks[name]) for name, value in whole.networks.items())


def test_until_it_begins_a_run_may_change_its_mind(settings: TrainSettings) -> None:
    """The second epoch is its first: it begins with the fifth step, after two of warm-up and an epoch of two."""
    later = SETTINGS.model_copy(update={"from_epoch": 1})
    with_it = settings.model_copy(update={"adversarial": later})
    wider = settings.model_copy(update={"adversarial": later.model_copy(update={"width": 8})})
    assert with_it.changed_from(settings, 4) == wider.changed_from(with_it, 4) == []
    for before, after in ((settings, with_it), (with_it, settings), (with_it, wider)):
        assert after.changed_from(before, 5) == ["adversarial"]
