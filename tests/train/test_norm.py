"""Batch norm over processes, in a group of one: what it computes. Two processes are in test_joint_batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from maskanim.networks import Networks
from maskanim.spec import ModelSpec, Widths
from maskanim.train.norm import JointBatchNorm2d, synchronise


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A gloo group of this process only."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_it_is_batch_norm(alone: None) -> None:
    """Outputs, gradients and running statistics over three batches; then in evaluation."""
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(5)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    joint = synchronise(nn.Sequential(nn.BatchNorm2d(5)), torch.device("cpu"))[0]
    assert isinstance(joint, JointBatchNorm2d)
    joint.load_state_dict(plain.state_dict())
    for _ in range(3):
        # A mean far from zero, where a difference of means of squares would have lost its digits.
        inputs = [(50 + torch.randn(4, 5, 6, 7)).requires_grad_() for _ in range(2)]
        inputs[1].data.copy_(inputs[0].data)
        outputs = [norm(x) for norm, x in zip((plain, joint), inputs, strict=True)]
        torch.testing.assert_close(outputs[1], outputs[0], atol=2e-5, rtol=1e-5)  # float32 of numbers around 50
        weights = torch.randn_like(outputs[0])
        for output in outputs:
            (output * weights).sum().backward()
        torch.testing.assert_close(inputs[1].grad, inputs[0].grad, atol=1e-4, rtol=1e-4)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(joint.state_dict()[name], value)
    joint.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 3, 3)
    assert torch.equal(plain.eval()(x), joint.eval()(x))


def test_half_precision_in_and_out(alone: None) -> None:
    norm = JointBatchNorm2d(3)
    x = torch.randn(4, 3, 5, 5).bfloat16()
    assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x).float(), nn.BatchNorm2d(3)(x.float()), atol=0.02, rtol=0.01)  # bfloat16's digits


def test_all_norms_are_replaced_and_names_stay(alone: None) -> None:
    nets = Networks(ModelSpec(widths=Widths(m=4, r=4, l=8, h=4)))
    names, count = list(nets.state_dict()), sum(isinstance(part, nn.BatchNorm2d) for part in nets.modules())
    synchronise(nets, torch.device("cpu"))
    assert list(nets.state_dict()) == names
    assert sum(isinstance(part, JointBatchNorm2d) for part in nets.modules()) == count > 0
