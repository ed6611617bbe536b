"""A bundle's networks, to be trained further: what `lowering` and `half` did, undone.

What was folded into a convolution stays there, behind a batch norm that changes nothing. The other rewrites copy, sum
or scale weights, and are inverted. From float32 files the function comes back up to rounding; from float16 ones, as the
weights were rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from maskanim import pipeline
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.export.checkpoints import build_networks
from maskanim.export.lowering import changes_nothing
from maskanim.networks import GAIN, Networks, TorchOps
from maskanim.networks.reparametrize import PHASES, from_phase_weight, from_transposed_weight
from maskanim.spec import NETWORK_NAMES, NetworkName

State = dict[str, Tensor]
ENTRY = re.compile(r".*\.(weight|bias|running_mean|running_var)")  # other initializers are the exporter's constants


def restore_networks(bundle: Bundle) -> Networks:
    """The four networks of a bundle, in eval mode.

    They animate as the bundle does. Before they are trained, `settle_norms` must make the norms fit their features.

    Raises:
        MaskanimError: the files hold other tensors than those of the manifest's networks, or rewrites not known here.
    """
    spec, subject = bundle.manifest.model, f"model {bundle.path}"
    found = {f"{name}.{key}": value for name in NETWORK_NAMES for key, value in _restored(bundle, name).items()}
    neutral: State = {}
    for name, norm in _norms(Networks(spec)):
        state = norm.state_dict() | {"running_var": norm.state_dict()["running_var"] - norm.eps}
        if not any(f"{name}.{key}" in found for key in state):  # folded, or left out as it changed nothing
            neutral |= {f"{name}.{key}": value for key, value in state.items()}
    return build_networks(spec, neutral | found, str, subject)


def _norms(nets: Networks) -> list[tuple[str, nn.BatchNorm2d]]:
    return [(name, module) for name, module in nets.named_modules() if isinstance(module, nn.BatchNorm2d)]


def _restored(bundle: Bundle, name: NetworkName) -> State:
    """One network's state, without the norms that were folded away."""
    entry = bundle.manifest.networks[name]
    unknown = [rewrite for rewrite in entry.lowering if rewrite not in INVERSES]
    if unknown:
        received = f"rewritten by {', '.join(unknown)}"
        raise MaskanimError(f"model {bundle.path}, {entry.file}", received, f"no others than {', '.join(INVERSES)}")
    try:
        graph = onnx.load_from_string(bundle.network(name).read_bytes()).graph
        state = {
            tensor.name.removesuffix(".float16"): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
            for tensor in graph.initializer
        }
    except Exception as error:  # damaged files end in protobuf's error, or in whichever their first bad tensor leads to
        received = f"not an ONNX file of this project ({' '.join(str(error).split())[:80]})"
        raise MaskanimError(f"model {bundle.path}, {entry.file}", received, "one that maskanim-export wrote") from None
    state = {key: value for key, value in state.items() if ENTRY.fullmatch(key)}
    for rewrite in reversed(entry.lowering):
        state = INVERSES[rewrite](state)
    return state


def _convolutions_of_transposed(state: State) -> State:
    kernels = {
        key: from_transposed_weight(value.double()).float()
        for key, value in state.items()
        if "up_blocks." in key and value.shape[2:] == (4, 4)
    }
    return state | kernels


def _whole_head(state: State) -> State:
    """Of each 2x2 block, the kernel and the bias of its first pixel."""
    state = dict(state)
    if "head.conv.weight" in state and state["head.conv.weight"].ndim == 4:
        state["head.weight"] = from_phase_weight(state.pop("head.conv.weight"))
    if "head.conv.bias" in state:
        state["head.bias"] = state.pop("head.conv.bias")[::PHASES]
    return state


# By the names in `lowering.REWRITES`: a network's state after a rewrite to that before it.
INVERSES: dict[str, Callable[[State], State]] = {
    "fold-batch-norm": lambda state: state,
    "fold-gain": lambda state: {k: value / GAIN if k.startswith("head.") else value for k, value in state.items()},
    "transpose-upsampling": _convolutions_of_transposed,
    "phase-head": _whole_head,
}


@torch.no_grad()
def settle_norms(nets: Networks, source: Tensor, driving: Tensor) -> None:
    """Give the norms that change nothing the statistics of what passes through them; what is animated stays the same.

    In training a batch norm takes out the mean and the deviation of a batch, and puts in its own bias and weight.
    Where these are 0 and 1 the features that the folded weights made would be lost at the first step.

    Args:
        nets: those of `restore_networks`.
        source, driving: (N, 3, 256, 256) float32 in [0, 1] each: pairs of frames like those to be trained on.
    """
    moments: dict[nn.BatchNorm2d, list[Tensor]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        wide = inputs[0].double()
        moments.setdefault(norm, []).append(torch.stack((wide.mean((0, 2, 3)), wide.square().mean((0, 2, 3)))))

    handles = [norm.register_forward_pre_hook(note) for _, norm in _norms(nets) if changes_nothing(norm)]
    ops = TorchOps(nets.spec.perturbation)
    pipeline.animate_frame(nets, ops, pipeline.encode_source(nets, ops, source), driving)
    for handle in handles:
        handle.remove()
    for norm, seen in moments.items():
        mean, square = torch.stack(seen).mean(0)
        variance = (square - mean.square()).clamp(min=norm.eps)
        moved = {"bias": mean, "running_mean": mean, "running_var": variance}
        norm.load_state_dict({**norm.state_dict(), **moved, "weight": (variance + norm.eps).sqrt()})
