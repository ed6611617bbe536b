"""Where a run happens: Lightning Fabric on a CPU, a GPU, or one process per GPU as torchrun or SLURM started them."""

from __future__ import annotations

import logging
import os
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from maskanim.errors import MaskanimError
from maskanim.networks.precision import has_bf16_kernels
from maskanim.runtime.sessions.session import processors

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16"]


def open_fabric(device: str, precision: Precision) -> Fabric:
    """Join the processes of this run, or be the only one.

    Under torchrun, or srun with ``--ntasks-per-node``, every process takes the GPU of its number, or the CPU, where
    gradients are exchanged through gloo.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, or, for a single process, a certain GPU such as ``cuda:1``.
        precision: ``bf16`` runs the networks under autocast; weights, gradients and Adam stay in float32. A processor
            without kernels for BF16, on which it takes ten times as long as float32, computes in float32.

    Raises:
        MaskanimError: no such device, or an environment that does not fit together.
    """
    torch.set_num_threads(min(torch.get_num_threads(), processors()))
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    chosen = _device(device)
    per_node, nodes = _processes()
    many = per_node * nodes > 1
    if many and chosen.index is not None:
        raise MaskanimError(f"--device {device}", "one GPU for several processes", "auto, cpu or cuda")
    # r and h start late: until then, their parameters are without a gradient.
    options: dict[str, Any] = {"strategy": DDPStrategy(find_unused_parameters=True)} if many else {}
    options["devices"] = per_node if many or chosen.type == "cpu" else [chosen.index or 0]
    slow = precision == "bf16" and chosen.type == "cpu" and not has_bf16_kernels()
    try:
        fabric = Fabric(
            accelerator=chosen.type,
            num_nodes=nodes,
            precision="bf16-mixed" if precision == "bf16" and not slow else "32-true",
            **options,
        )
        fabric.launch()
        if fabric.device.type == "cuda":  # sizes stay the same all along: the fastest algorithms are worth a search
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")
    except (RuntimeError, ValueError) as error:
        subject = f"{per_node} processes on each of {nodes} nodes"
        next_step = "With torchrun, --nproc-per-node is the number of GPUs; with srun, --ntasks-per-node is"
        raise MaskanimError(subject, " ".join(str(error).split()), "one process per device", next_step) from error
    if slow and fabric.is_global_zero:
        logger.info(
            "precision: fp32, as this processor has no kernels for the settings' bf16 and would be ten times slower"
        )
    return fabric


def close_fabric() -> None:
    """Leave the processes of this run."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _processes() -> tuple[int, int]:
    """How many on each node, and how many nodes, by what started this process."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        per_node = int(os.environ["LOCAL_WORLD_SIZE"])
        return per_node, int(os.environ["WORLD_SIZE"]) // per_node
    if "SLURM_NTASKS" in os.environ and SLURMEnvironment.detect():
        per_node = int(os.environ.get("SLURM_NTASKS_PER_NODE", os.environ["SLURM_NTASKS"]))
        return per_node, int(os.environ.get("SLURM_NNODES", "1"))
    return 1, 1


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        expected = "auto, cpu, or a CUDA device that works"
        raise MaskanimError(f"--device {name}", "no such device here", expected) from None
    if device.type not in ("cpu", "cuda"):
        raise MaskanimError(f"--device {name}", "a device that training does not run on", "auto, cpu or cuda")
    return device
