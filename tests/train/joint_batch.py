"""A few training steps, by one process or by the processes of torchrun: python joint_batch.py SETTINGS OUT.

Writes OUT: the figures of every step, the gradients of the last step and the weights after it.

All of it in double precision. Training multiplies differences from step to step, by ten and more where weights are as
random as here: in single precision, the rounding of sums in another order would hide a mistake of the same size.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from maskanim.networks import Networks
from maskanim.train import trainer
from maskanim.train.data.drawn import SyntheticPairs
from maskanim.train.launch import close_fabric, open_fabric
from maskanim.train.settings import load_settings

STEPS = 4


def steps(settings_file: str, out: Path) -> None:
    """The first two steps are the warm-up's, the second one with r; r is back in the fourth, of the second epoch."""
    settings = load_settings(settings_file, {})
    fabric = open_fabric("cpu", settings.precision)
    training = trainer.Trainer(settings, fabric, None, SyntheticPairs(settings.identities, 1))
    figures = [training.train_step(batch) for batch in training.data(STEPS, workers=0)]
    gradients = {name: p.grad for name, p in training.nets.named_parameters() if p.grad is not None}
    if fabric.is_global_zero:
        torch.save({"figures": figures, "gradients": gradients, "weights": training.nets.state_dict()}, out)
    close_fabric()


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    trainer.Networks = lambda spec: Networks(spec).double()  # type: ignore[assignment, misc]
    steps(sys.argv[1], Path(sys.argv[2]))
