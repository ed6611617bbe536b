"""Equations (1)-(6) of the paper, written once.

Everything runs this: PyTorch modules in training-time validation, NumPy arrays with ONNX Runtime or OpenVINO on a CPU,
device buffers on a GPU. Only `nets` and `ops` differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Tensor = TypeVar("Tensor")


class Nets(Protocol[Tensor]):
    """The four trained networks; shapes and names in `spec.NETWORKS`."""

    def m(self, image: Tensor, /) -> Tensor: ...
    def r(self, source_small: Tensor, source_mask: Tensor, perturbed_mask: Tensor, /) -> Tensor: ...
    def l(self, source_small: Tensor, source_mask: Tensor, refined_mask: Tensor, /) -> Tensor: ...  # noqa: E743
    def h(self, source: Tensor, source_mask_up: Tensor, refined_mask_up: Tensor, coarse: Tensor, /) -> Tensor: ...


class Ops(Protocol[Tensor]):
    """The untrained operations D, U and P_test; their meaning is in `ops`."""

    def downscale(self, image: Tensor, /) -> Tensor: ...
    def upscale(self, mask: Tensor, /) -> Tensor: ...
    def perturb(self, mask: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class Source(Generic[Tensor]):
    """All that depends on the source alone: s, D(s), m_s and U(m_s)."""

    image: Tensor
    small: Tensor
    mask: Tensor
    mask_up: Tensor


@dataclass(frozen=True)
class Animation(Generic[Tensor]):
    """One driving frame's way through the networks: m_d, m_dp, m_dr, c and f."""

    mask: Tensor
    perturbed: Tensor
    refined: Tensor
    coarse: Tensor
    frame: Tensor


def encode_source(nets: Nets[Tensor], ops: Ops[Tensor], image: Tensor) -> Source[Tensor]:
    """Equation (1) and D(s), U(m_s): once per source."""
    mask = nets.m(image)
    return Source(image, ops.downscale(image), mask, ops.upscale(mask))


def animate_frame(nets: Nets[Tensor], ops: Ops[Tensor], source: Source[Tensor], driving: Tensor) -> Animation[Tensor]:
    """Equations (2)-(6): once per driving frame. The only link to the driver is the 64x64 mask."""
    mask = nets.m(driving)
    perturbed = ops.perturb(mask)
    refined = nets.r(source.small, source.mask, perturbed)
    # Before l, which does not need it: a device computes it on a second stream while l runs.
    refined_up = ops.upscale(refined)
    coarse = nets.l(source.small, source.mask, refined)
    frame = nets.h(source.image, source.mask_up, refined_up, coarse)
    return Animation(mask, perturbed, refined, coarse, frame)
