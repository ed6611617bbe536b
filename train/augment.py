"""A, equation (7): change the driving frame's colours, so that masks do not depend on them (section 3.1)."""

from __future__ import annotations

from kornia.augmentation import ColorJitter
from torch import nn

from maskanim.train.settings import TrainSettings


def colour_augmentation(settings: TrainSettings) -> nn.Module:
    """Scale brightness, contrast and saturation and shift the hue, in random order and by amounts drawn per picture.

    Returns:
        A module from (N, 3, H, W) in [0, 1] to the same, on the pictures' device; it draws from torch's generator.
    """
    scale, hue = settings.colour_scale, settings.colour_hue
    return ColorJitter(scale, scale, scale, hue, p=1.0, same_on_batch=False)
