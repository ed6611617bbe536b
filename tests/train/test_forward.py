"""Equations (7)-(13): which parameters get a gradient from which term, and what each network is given."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.func import functional_call

from maskanim import pipeline
from maskanim.networks import Networks, TorchOps
from maskanim.networks.ops import downscale, perturb, upscale
from maskanim.spec import ModelSpec, Widths
from maskanim.train.forward import Losses, Prediction, TrainingPass
from maskanim.train.losses import facial_detail, mask_entropy, pixel_loss
from maskanim.train.settings import Ablations, TrainSettings

SETTINGS = TrainSettings(
    model=ModelSpec(widths=Widths(m=4, r=4, l=8, h=4)), perceptual="none", lambda_reconstruct=0, lambda_pixel=10
)


NOW = SETTINGS.during(1)


@pytest.fixture
def nets() -> Networks:
    torch.manual_seed(0)
    return Networks(SETTINGS.model)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(2, 3, 256, 256), torch.rand(2, 3, 256, 256)


def predict(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]) -> Prediction:
    return TrainingPass(nets, lambda image: image * 0.9, lambda mask: mask * 0.5)(*pair, NOW)


@pytest.mark.parametrize(("term", "updated"), [("mask", {"r"}), ("coarse", {"l", "m"}), ("frame", {"h"})])
def test_each_term_updates_its_networks_only(
    nets: Networks, pair: tuple[torch.Tensor, torch.Tensor], term: str, updated: set[str]
) -> None:
    Losses(SETTINGS, None)(predict(nets, pair), pair[1], NOW)[term].backward()
    reached = {name.split(".")[0] for name, p in nets.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == updated


def test_what_each_network_is_given(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    """L and h see m(A(d)) and never r's output; r sees the perturbed mask."""
    given: dict[str, list[torch.Tensor]] = {}
    for name in "mrlh":
        getattr(nets, name).register_forward_pre_hook(lambda module, args, name=name: given.update({name: list(args)}))
    source, driving = pair
    out = predict(nets, pair)
    expected = {
        "m": [torch.cat((source, driving * 0.9))],
        "r": [downscale(source), out.source_mask, out.driving_mask * 0.5],
        "l": [downscale(source), out.source_mask, out.driving_mask],
        "h": [source, upscale(out.source_mask), upscale(out.driving_mask), out.coarse],
    }
    for name, tensors in expected.items():
        for got, wanted in zip(given[name], tensors, strict=True):
            torch.testing.assert_close(got, wanted)


def test_terms_are_weighted(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    out = predict(nets, pair)
    terms = Losses(SETTINGS, None)(out, pair[1], NOW)
    torch.testing.assert_close(terms["mask"], 100 * (out.refined - out.driving_mask).abs().mean())
    scales = [(out.coarse - pair[1]), *(downscale_by(out.coarse - pair[1], k) for k in (2, 4))]
    torch.testing.assert_close(terms["coarse"], 10 * sum(difference.abs().mean() for difference in scales))


def test_the_detail_of_a_face_may_count_more(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    """By a weight on the pixels of l's and h's losses, not on r's; without figure maps nothing changes."""
    settings = SETTINGS.model_copy(update={"detail_weight": 4.0})
    out, figures = predict(nets, pair), torch.rand(len(pair[0]), 1, 64, 64)
    plain, same = Losses(SETTINGS, None)(out, pair[1], NOW), Losses(settings, None)(out, pair[1], NOW)
    found = Losses(settings, None)(out, pair[1], NOW, figures)
    weights = 1 + 4 * facial_detail(figures)
    wanted = 10 * pixel_loss(out.coarse, pair[1], SETTINGS.resolutions, weights=weights)
    assert same == plain and found["mask"] == plain["mask"]
    torch.testing.assert_close(found["coarse"], wanted)
    assert found["coarse"] > plain["coarse"] and found["frame"] > plain["frame"]


def downscale_by(image: torch.Tensor, k: int) -> torch.Tensor:
    n, c, height, width = image.shape
    return image.reshape(n, c, height // k, k, width // k, k).mean((3, 5))


def test_what_has_not_started_has_no_term(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    out = TrainingPass(nets, lambda x: x, lambda x: x)(*pair, NOW._replace(refine=False, high_res=False))
    assert set(Losses(SETTINGS, None)(out, pair[1], NOW)) == {"coarse"}


def test_h_learns_alone(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The others are run as ever, but nothing of them is kept for a way back."""
    alone = TrainingPass(nets, lambda image: image * 0.9, lambda mask: mask * 0.5)(
        *pair, NOW._replace(low_res=False, refine=False)
    )
    assert not alone.coarse.requires_grad and not alone.driving_mask.requires_grad
    terms = Losses(SETTINGS, None)(alone, pair[1], NOW._replace(low_res=False))
    together = Losses(SETTINGS, None)(predict(nets, pair), pair[1], NOW)
    assert set(terms) == {"frame"}
    found, wanted = gradients(nets, terms["frame"]), gradients(nets, together["frame"])
    assert found.keys() == wanted.keys() and all(name.startswith("h.") for name in found)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], msg=name)


def test_r_learns_alone(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    """L and h are not run; r learns what it learns together with them, and by cross-entropy, too, where that weighs."""
    for network in (nets.l, nets.h):
        network.register_forward_pre_hook(lambda module, args: pytest.fail("run for nothing"))
    step = TrainingPass(nets, lambda image: image * 0.9, lambda mask: mask * 0.5)
    alone = step(*pair, NOW._replace(low_res=False, high_res=False))
    assert alone.coarse is None and not alone.driving_mask.requires_grad
    terms = Losses(SETTINGS, None)(alone, pair[1], NOW._replace(low_res=False))
    assert set(terms) == {"mask"} and all(name.startswith("r.") for name in gradients(nets, terms["mask"]))
    both = Losses(SETTINGS.model_copy(update={"lambda_mask_entropy": 7.0}), None)(alone, pair[1], NOW)["mask"]
    torch.testing.assert_close(both - terms["mask"], 7 * mask_entropy(alone.refined, alone.driving_mask))


def test_the_entropy_of_masks() -> None:
    masks, wanted = 0.1 + 0.8 * torch.rand(2, 2, 1, 64, 64)
    torch.testing.assert_close(mask_entropy(masks, wanted), torch.nn.functional.binary_cross_entropy(masks, wanted))


def test_l_and_h_learn_with_the_masks_that_r_restores(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    """What they are given is what `pipeline` gives them; m gets no gradient, and r that of its own loss alone."""
    nets.eval()
    source, driving = pair
    out = TrainingPass(nets, lambda image: image, lambda mask: mask * 0.5)(source, driving, NOW._replace(restored=True))
    ops = TorchOps(nets.spec.perturbation)
    animated = pipeline.animate_frame(nets, ops, pipeline.encode_source(nets, ops, source), driving)
    torch.testing.assert_close(out.frame, animated.frame)
    terms = Losses(SETTINGS, None)(out, driving, NOW)
    reached = {name: {key[0] for key in gradients(nets, term)} for name, term in terms.items()}
    assert reached == {"coarse": {"l"}, "mask": {"r"}, "frame": {"h"}}


def gradients(nets: Networks, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of the loss, for the parameters that it reaches."""
    named = dict(nets.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: value for name, value in zip(named, found, strict=True) if value is not None and value.any()}


def plainly(nets: Networks, pair: tuple[torch.Tensor, torch.Tensor], updated: set[str]) -> dict[str, torch.Tensor]:
    """The gradients of the loss of f, where only the parameters of some networks are not constants.

    Written out for the networks' parameters as arguments: what is constant is detached parameter by parameter, not
    where the networks meet.
    """

    def call(name: str, *inputs: torch.Tensor) -> torch.Tensor:
        network, known = getattr(nets, name), name in updated
        values = {key: value if known else value.detach() for key, value in network.named_parameters()}
        return functional_call(network, values, inputs)

    source, driving = pair
    source_mask, driving_mask = call("m", torch.cat((source, driving * 0.9))).chunk(2)
    coarse = call("l", downscale(source), source_mask, driving_mask)
    given = source_mask, driving_mask
    if updated == {"h", "m"}:  # the masks that h is given, not those that l made c from
        coarse = coarse.detach()
    frame = call("h", source, *(upscale(mask) for mask in given), coarse)
    return gradients(nets, Losses(SETTINGS, None)(prediction_of(frame, coarse, given), driving, NOW)["frame"])


def prediction_of(frame: torch.Tensor, coarse: torch.Tensor, masks: tuple[torch.Tensor, torch.Tensor]) -> Prediction:
    return Prediction(*masks, None, None, coarse, frame)


@pytest.mark.parametrize(
    ("ablations", "updated"),
    [
        (Ablations(), {"h"}),
        (Ablations(h_update_l=True), {"h", "l"}),
        (Ablations(h_update_m=True), {"h", "m"}),
        (Ablations(h_update_l=True, h_update_m=True), {"h", "l", "m"}),
    ],
)
def test_ablations_route_the_loss_of_f(
    nets: Networks, pair: tuple[torch.Tensor, torch.Tensor], ablations: Ablations, updated: set[str]
) -> None:
    """The loss of f updates these networks, by the gradients of an independent computation; nothing else changes."""
    training_pass = TrainingPass(nets, lambda image: image * 0.9, lambda mask: mask * 0.5, ablations)
    terms = Losses(SETTINGS, None)(training_pass(*pair, NOW), pair[1], NOW)
    got = gradients(nets, terms["frame"])
    assert {name.split(".")[0] for name in got} == updated
    for name, expected in plainly(nets, pair, updated).items():
        torch.testing.assert_close(got[name], expected, atol=1e-6, rtol=1e-4, msg=name)

    ordinary = Losses(SETTINGS, None)(predict(nets, pair), pair[1], NOW)
    for name, value in terms.items():
        torch.testing.assert_close(value, ordinary[name])


def test_an_animation_pass_changes_only_what_batch_norm_remembers(
    nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    plain = copy.deepcopy(nets)
    found = [
        TrainingPass(networks, lambda image: image, lambda mask: mask, animation_pass=networks is nets)(*pair, NOW)
        for networks in (plain, nets)
    ]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    before, after = plain.state_dict(), nets.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name[0] for name in changed} == {"r", "l"}
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in changed)
    assert after["l.first.1.num_batches_tracked"] == 2


def test_an_animation_pass_is_given_the_masks_of_the_pair_beside_it(
    nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    given = []
    nets.r.register_forward_hook(lambda _, inputs, __: given.append(inputs))
    TrainingPass(nets, lambda image: image, lambda mask: mask, animation_pass=True)(*pair, NOW)
    (small, source_mask, others), (_, _, own) = given
    perturbation = SETTINGS.model.perturbation.model_copy(update={"released_animate": True})
    torch.testing.assert_close(others, perturb(own.flip(0), perturbation), rtol=0, atol=0)
    assert small.shape == (2, 3, 64, 64) and source_mask.shape == others.shape


class Grey(torch.nn.Module):
    """Stands for m: a picture's brightness, which tells pictures apart before any training."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(image.mean(1, keepdim=True), 4)


def test_a_driver_of_another_person_is_what_r_restores_from(
    nets: Networks, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    nets.eval()
    nets.m = Grey()  # type: ignore[assignment]
    training = TrainingPass(nets, lambda image: image * 0.9, lambda mask: mask * 0.5)
    other = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    alone, across = training(*pair, NOW), training(*pair, NOW, driver=other)
    assert alone.perturbed is not None and across.perturbed is not None
    torch.testing.assert_close(across.driving_mask, alone.driving_mask)  # the target stays the driving frame's
    torch.testing.assert_close(across.perturbed, 0.5 * nets.m(0.9 * other))
    torch.testing.assert_close(across.coarse, alone.coarse)
    torch.testing.assert_close(training(*pair, NOW, driver=pair[1]).refined, alone.refined)
