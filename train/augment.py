"""A, equation (7), which changes colours so that masks do not depend on them (section 3.1); and other framings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


SMALLEST, LARGEST = 0.4, 2.5  # of a picture's size
ASIDE = 0.15  # of the square's half: how far a picture may reach beyond it


def reframe(
    images: Tensor, figures: Tensor, share: float, rank_slice: RankSlice | None = None, groups: int = 1
) -> tuple[Tensor, Tensor]:
    """Show some pictures smaller, larger and beside the middle, as where a picture is searched for its object.

    Beyond a picture its edge is repeated, and there is nothing of the figure. Not in the paper. It draws from torch's
    generator, the same for the pictures of the same place in each group.

    Args:
        images: (N, 3, 256, 256) in [0, 1].
        figures: (N, 1, 64, 64) in [0, 1].
        share: how often.
        rank_slice, groups: as in `RankSlice.part`.

    Returns:
        The same shapes.
    """
    rank_slice = rank_slice or RankSlice()
    drawn = rank_slice.part(torch.rand(rank_slice.joint(len(images) // groups), 4)).repeat(groups, 1).to(images.device)
    scale = SMALLEST * (LARGEST / SMALLEST) ** drawn[:, :1]
    away = ((1 - 1 / scale).abs() + ASIDE / scale) * (2 * drawn[:, 1:3] - 1)
    theta = torch.cat((torch.eye(2, device=images.device) / scale[..., None], away[..., None]), 2)
    chosen = (drawn[:, 3] < share).view(-1, 1, 1, 1)
    found = []
    for pictures, beyond in ((images, "border"), (figures, "zeros")):
        places = F.affine_grid(theta, list(pictures.shape), align_corners=False)
        moved = F.grid_sample(pictures, places, padding_mode=beyond, align_corners=False)
        found.append(torch.where(chosen, moved, pictures).contiguous(memory_format=torch.channels_last))
    return found[0], found[1]
