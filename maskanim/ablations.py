"""The paper's ablations (section 4.2, Tables 5 and 7): those of test time as wrappers, those of training time by name.

A wrapper leaves `pipeline` as it is and only swaps what `pipeline` is given, so that it holds for every kind of tensor.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from maskanim.pipeline import Nets, Ops

Tensor = TypeVar("Tensor")


class Ablation(NamedTuple):
    """A variant of the method at test time."""

    told: str  # what is left out
    perturb: bool = True  # whether P_test is applied, equation (3)
    refine: bool = True  # whether r is, equation (4); else l and h are given its third argument
    refine_frame: bool = True  # whether h is, equation (6); else the result is c


FULL = "full"
# The paper: no_pert, no_ref and no_id are "where the first, second, or both steps are removed".
TEST_TIME: dict[str, Ablation] = {
    FULL: Ablation("the method as it is"),
    "no_pert": Ablation("r is given the driver's mask without P_test", perturb=False),
    "no_ref": Ablation("l and h are given the perturbed mask, without r", refine=False),
    "no_id": Ablation("l and h are given the driver's mask, without P_test and r", perturb=False, refine=False),
    "low_res": Ablation("the coarse frame c, without h", refine_frame=False),
}
TRAINING_TIME: dict[str, str] = {
    "no_color_aug": "trained without the colour augmentation A",
    "h_update_m": "trained with the loss of f updating m too",
    "h_update_l": "trained with the loss of f updating l too",
}


class AblatedNets(Generic[Tensor]):
    """`pipeline.Nets` in which r or h hand on what they are given. c is as large as f, so that nothing is enlarged."""

    def __init__(self, nets: Nets[Tensor], ablation: Ablation) -> None:
        self.nets, self.ablation = nets, ablation
        self.m, self.l = nets.m, nets.l

    def r(self, source_small: Tensor, source_mask: Tensor, perturbed_mask: Tensor, /) -> Tensor:
        return self.nets.r(source_small, source_mask, perturbed_mask) if self.ablation.refine else perturbed_mask

    def h(self, source: Tensor, source_mask_up: Tensor, refined_mask_up: Tensor, coarse: Tensor, /) -> Tensor:
        if not self.ablation.refine_frame:
            return coarse
        return self.nets.h(source, source_mask_up, refined_mask_up, coarse)


class AblatedOps(Generic[Tensor]):
    """`pipeline.Ops` in which P_test may hand on what it is given."""

    def __init__(self, ops: Ops[Tensor], ablation: Ablation) -> None:
        self.ops, self.ablation = ops, ablation
        self.downscale, self.upscale = ops.downscale, ops.upscale

    def perturb(self, mask: Tensor, /) -> Tensor:
        return self.ops.perturb(mask) if self.ablation.perturb else mask
