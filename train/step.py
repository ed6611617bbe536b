"""What one training step computes: the terms of the loss, from a batch and where in the run it lies."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskanim.networks import Networks
from maskanim.networks.ops import downscale
from maskanim.train.adversary import Adversary, Judged
from maskanim.train.augment import ColourAugmentation, reframe
from maskanim.train.data.pairs import Pair
from maskanim.train.draws import RankSlice
from maskanim.train.forward import Losses, Prediction, TrainingPass
from maskanim.train.losses import mask_entropy
from maskanim.train.perturb import perturb_train
from maskanim.train.settings import TrainSettings


class Place(NamedTuple):
    """Where a step lies in the run: None as the epoch means that m is warming up alone."""

    step: int
    epoch: int | None
    step_in_training: int


class Step(nn.Module):
    """One step of the warm-up or of the paper's training, as one module that several processes can share.

    Args:
        nets: the four networks; all that is trained here.
        settings: how to train.
        losses: the terms.
        rank_slice: this process's part of every joint batch.
        adversary: which c and f are also held against; None: none.
    """

    def __init__(
        self,
        nets: Networks,
        settings: TrainSettings,
        losses: Losses,
        rank_slice: RankSlice,
        adversary: Adversary | None = None,
    ) -> None:
        super().__init__()
        self.nets, self.settings, self.losses, self.rank_slice = nets, settings, losses, rank_slice
        self.adversary = adversary
        self.augment = ColourAugmentation(settings, rank_slice)
        self.training_pass = TrainingPass(
            nets, self.augment, self._perturb, settings.ablations, settings.animation_pass
        )

    def forward(self, batch: Pair, place: Place) -> tuple[dict[str, Tensor], Tensor, Judged | None]:
        """Each weighted term of the loss, the masks of m without their border of zeros, and what is to be judged."""
        judged = None
        if place.epoch is None:
            terms, masks = self._warm_up(batch, place)
        else:
            terms, masks, judged = self._train(batch, place, place.epoch)
        return terms, masks.detach()[..., 3:-3, 3:-3], judged

    def _warm_up(self, batch: Pair, place: Place) -> tuple[dict[str, Tensor], Tensor]:
        """M on the drawn figure maps; then r, with each frame of a pair as the other's driver."""
        images = floats(torch.cat((batch.source, batch.driving)))
        figures = torch.cat((batch.source_figure, batch.driving_figure))
        if share := self.settings.warmup.reframe:
            images, figures = reframe(images, figures, share, self.rank_slice, groups=2)
        masks = self.nets.m(self.augment(images, groups=2))
        weight = self.settings.detail_weight
        terms = {"figure": mask_entropy(masks, figures, weight)}
        start = self.settings.warmup.refine_from_step
        if start is not None and place.step >= start:
            source_masks = masks.detach()
            driving_masks = torch.cat(source_masks.chunk(2)[::-1])
            refined = self.nets.r(downscale(images), source_masks, self._perturb(driving_masks, groups=2))
            terms["refined"] = mask_entropy(refined, driving_masks, weight)
        return terms, masks

    def _train(self, batch: Pair, place: Place, epoch: int) -> tuple[dict[str, Tensor], Tensor, Judged | None]:
        """The paper's losses, and at first the figure maps that still guide m."""
        settings, now = self.settings, self.settings.during(epoch)
        source, driving = floats(batch.source), floats(batch.driving)
        target = driving
        if settings.colour_target:
            source, target = self.augment.alike(source, driving)
        driver = floats(batch.driver) if batch.driver.shape[1] else None
        prediction: Prediction = self.training_pass(source, driving, now, driver)
        figures = batch.driving_figure  # real clips have none
        terms = self.losses(prediction, target, now, figures if settings.detail_weight and figures.shape[1] else None)
        judged = self._judged(terms, prediction, target, place) if self.adversary else None
        masks = torch.cat((prediction.source_mask, prediction.driving_mask))
        fade = 1 - place.step_in_training / max(1, settings.warmup.fade_steps)
        if settings.warmup.weight and fade > 0 and now.low_res and not now.restored:
            figures = torch.cat((batch.source_figure, batch.driving_figure))
            guided = mask_entropy(masks, figures, settings.detail_weight)
            terms["figure"] = settings.warmup.weight * fade * guided
        return terms, masks, judged

    def _judged(self, terms: dict[str, Tensor], prediction: Prediction, target: Tensor, place: Place) -> Judged | None:
        """What the discriminator learns from; once it knows enough, `terms` get what it says of each frame."""
        settings = self.settings.adversarial
        steps = place.step_in_training - settings.from_epoch * self.settings.steps_per_epoch
        made = {"coarse": prediction.coarse, "frame": prediction.frame}
        learning = {name: image for name, image in made.items() if name in terms and image is not None}
        if steps < 0 or not learning or self.adversary is None:
            return None
        mask = prediction.driving_mask.detach()
        if steps >= settings.alone_steps:
            for name, image in learning.items():
                terms[f"{name}_adversarial"] = self.adversary.loss(image, target, mask)
        return Judged(target, torch.cat([*learning.values()]).detach(), mask)

    def _perturb(self, mask: Tensor, groups: int = 1) -> Tensor:
        settings = self.settings
        return perturb_train(
            mask,
            settings.model.perturbation,
            strips=settings.strips,
            zoom=settings.zoom,
            noise=settings.noise,
            rank_slice=self.rank_slice,
            groups=groups,
        )


def floats(images: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 to float32 in [0, 1], channels last."""
    return images.contiguous(memory_format=torch.channels_last).float() / 255
