"""Which number formats this processor computes networks in."""

from __future__ import annotations

import torch


def has_bf16_kernels() -> bool:
    """Whether PyTorch has kernels for BF16 on this processor; without them a convolution is a hundred times slower.

    ``ONEDNN_MAX_CPU_ISA=AVX2`` makes a newer processor behave as one that has none.
    """
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
