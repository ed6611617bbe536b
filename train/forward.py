"""Equations (7)-(13): the training pass and which networks each loss term updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskanim.networks import Networks
from maskanim.networks.ops import downscale, perturb, upscale
from maskanim.train.losses import Perceptual, facial_detail, mask_entropy, pixel_loss
from maskanim.train.settings import Ablations, During, TrainSettings


class Prediction(NamedTuple):
    """m_s, m_d, m_dp, m_dr, c and f of one training pass; None for what has not started yet."""

    source_mask: Tensor
    driving_mask: Tensor
    perturbed: Tensor | None
    refined: Tensor | None
    coarse: Tensor | None
    frame: Tensor | None


@dataclass(frozen=True)
class TrainingPass:
    """The networks with the two random operators of training.

    Attributes:
        augment: A, (N, 3, 256, 256) to the same.
        perturb: P_train, (N, 1, 64, 64) to the same.
        ablations: which networks the loss of f updates; in the paper's training, h alone.
        animation_pass: see TrainSettings.
    """

    nets: Networks
    augment: Callable[[Tensor], Tensor]
    perturb: Callable[[Tensor], Tensor]
    ablations: Ablations = field(default_factory=Ablations)
    animation_pass: bool = False

    def __call__(self, source: Tensor, driving: Tensor, now: During, driver: Tensor | None = None) -> Prediction:
        """Equations (7)-(11). l and h see m(A(d)), not r's output; r and h learn from detached inputs.

        With `now.restored`, they do see r's, of what P_test leaves of the driver's mask, as when they animate; m rests.
        With `driver`, which is not in the paper, r restores the driving frame's mask from that of another person who
        moves alike.
        """
        nets = self.nets
        small = downscale(source)
        with torch.set_grad_enabled(now.low_res and not now.restored and torch.is_grad_enabled()):
            # One batch through m, so that its batch norm sees sources and drivers alike.
            images = [source, self.augment(driving), *([] if driver is None else [self.augment(driver)])]
            source_mask, driving_mask, *others = nets.m(torch.cat(images)).chunk(len(images))
        driver_mask = others[0] if others else driving_mask
        given = driving_mask
        if now.restored:
            with torch.no_grad():
                given = nets.r(small, source_mask, perturb(driver_mask, nets.spec.perturbation))
        coarse = perturbed = refined = frame = None
        if now.low_res or now.high_res:
            with torch.set_grad_enabled(now.low_res and torch.is_grad_enabled()):
                coarse = nets.l(small, source_mask, given)
        if self.animation_pass and now.refine and nets.r.training:
            self._animate_others(small, source_mask.detach(), driving_mask.detach())
        if now.refine:
            perturbed = self.perturb(driver_mask.detach())
            refined = nets.r(small, source_mask.detach(), perturbed)
        if now.high_res and coarse is not None:
            masks = torch.cat((source_mask, given))
            up = upscale(masks if self.ablations.h_update_m else masks.detach())
            frame = nets.h(source, *up.chunk(2), self._coarse_for_h(small, masks, coarse))
        return Prediction(source_mask, driving_mask, perturbed, refined, coarse, frame)

    @torch.no_grad()
    def _animate_others(self, small: Tensor, source_mask: Tensor, driving_mask: Tensor) -> None:
        """R and l on each source with the driver of the pair beside it, only for what batch norm remembers."""
        count = len(driving_mask)
        beside = [min(i ^ 1, count - 1) for i in range(count)]  # within the pairs of one process, if they are even
        perturbation = self.nets.spec.perturbation.model_copy(update={"released_animate": True})
        refined = self.nets.r(small, source_mask, perturb(driving_mask[beside].float(), perturbation))
        self.nets.l(small, source_mask, refined)

    def _coarse_for_h(self, small: Tensor, masks: Tensor, coarse: Tensor) -> Tensor:
        """c, with a way back for the loss of f to the networks that it updates."""
        if not self.ablations.h_update_l:
            return coarse.detach()
        if self.ablations.h_update_m:
            return coarse
        source_mask, driving_mask = masks.detach().chunk(2)
        alone: Tensor = self.nets.l(small, source_mask, driving_mask)
        return alone


@dataclass(frozen=True)
class Losses:
    """The weighted sum of L_mask (12) and L_reconstruct (13), term by term."""

    settings: TrainSettings
    perceptual: Perceptual | None

    def __call__(
        self, prediction: Prediction, target: Tensor, now: During, figures: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Each term as a scalar, already weighted: ``mask`` for r, ``coarse`` for l and m, ``frame`` for h.

        Args:
            prediction: what the networks made.
            target: the frame that c and f are to be, (N, 3, 256, 256).
            now: what counts.
            figures: its figure maps, (N, 1, 64, 64), for `TrainSettings.detail_weight`.
        """
        weights = None if figures is None else 1 + self.settings.detail_weight * facial_detail(figures)
        compared = self.perceptual and now.lambda_reconstruct and (prediction.coarse is not None)
        targets = self.perceptual.targets(target) if self.perceptual and compared else []
        terms = {}
        if now.low_res and prediction.coarse is not None:
            terms["coarse"] = self._reconstruct(prediction.coarse, target, targets, now, weights)
        if prediction.refined is not None:
            terms["mask"] = self._restore(prediction.refined, prediction.driving_mask.detach())
        if prediction.frame is not None:
            terms["frame"] = self._reconstruct(prediction.frame, target, targets, now, weights)
        return terms

    def _restore(self, refined: Tensor, mask: Tensor) -> Tensor:
        settings = self.settings
        loss = settings.lambda_mask * F.l1_loss(refined, mask)
        if settings.lambda_mask_entropy:
            loss = loss + settings.lambda_mask_entropy * mask_entropy(refined, mask, settings.detail_weight)
        return loss

    def _reconstruct(
        self, image: Tensor, target: Tensor, targets: list[list[Tensor]], now: During, weights: Tensor | None
    ) -> Tensor:
        settings = self.settings
        loss = image.new_zeros(())
        if self.perceptual and now.lambda_reconstruct:
            loss = loss + now.lambda_reconstruct * self.perceptual(image, targets)
        if now.lambda_pixel:
            loss = loss + now.lambda_pixel * pixel_loss(image, target, settings.resolutions, settings.blur, weights)
        return loss
