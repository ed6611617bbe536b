"""A, equation (7): change the driving frame's colours, so that masks do not depend on them (section 3.1)."""

from __future__ import annotations

import torch
from kornia.augmentation import ColorJitter
from torch import Tensor

from maskanim.train.draws import RankSlice
from maskanim.train.settings import TrainSettings


class ColourAugmentation:
    """Scale brightness, contrast and saturation and shift the hue, in random order and by amounts drawn per picture.

    It draws from torch's generator. With the ablation no_color_aug it changes nothing.

    Args:
        rank_slice: this process's part of the joint batch that is drawn for.
    """

    def __init__(self, settings: TrainSettings, rank_slice: RankSlice | None = None) -> None:
        scale, hue = settings.colour_scale, settings.colour_hue
        self.rank_slice = rank_slice or RankSlice()
        self.jitter = ColorJitter(scale, scale, scale, hue, p=1.0, same_on_batch=False)
        self.off = settings.ablations.no_color_aug

    def __call__(self, images: Tensor, groups: int = 1) -> Tensor:
        """(N, 3, H, W) in [0, 1] to the same, on the pictures' device; `groups` as in `RankSlice.part`."""
        return self.alike(images, groups=groups)[0]

    def alike(self, *batches: Tensor, groups: int = 1) -> list[Tensor]:
        """Batches of one shape, the same change for the pictures of the same place in each."""
        if self.off:
            return list(batches)
        count, *sizes = batches[0].shape
        joint = self.rank_slice.joint(count)
        drawn: dict[str, Tensor] = self.jitter.forward_parameters(torch.Size((joint, *sizes)))
        # The order of the four changes is one for the batch; the shape is that of the pictures it is applied to.
        whole = {"order": drawn["order"], "forward_input_shape": torch.tensor(batches[0].shape)}
        rows = {name: self.rank_slice.part(rows, groups) for name, rows in drawn.items() if name not in whole}
        return [self.jitter(images, params=rows | whole) for images in batches]
