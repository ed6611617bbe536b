"""Sample grids: the rows of the runtime's grid, and held-out examples."""

from __future__ import annotations

import numpy as np
import torch

from maskanim.networks import Networks
from maskanim.ops import preprocess
from maskanim.spec import ModelSpec, Widths
from maskanim.train.grid import draw_grids, puppet_examples
from maskanim.train.puppets import Puppet


def test_a_row_per_pair_and_training_goes_on() -> None:
    nets = Networks(ModelSpec(widths=Widths(m=4, r=4, l=8, h=4))).train()
    before = {name: value.clone() for name, value in nets.state_dict().items()}
    source, driving = puppet_examples(2)
    grid = draw_grids(nets, source, driving)
    assert grid.shape == (2 * 256, 8 * 256, 3)
    np.testing.assert_array_equal(grid[256:, :256], Puppet(1, "test").frame(0).image)
    assert nets.training and all(torch.equal(before[name], value) for name, value in nets.state_dict().items())


def test_half_of_the_drivers_are_somebody_else() -> None:
    source, driving = puppet_examples(4, seconds=1.0)
    assert source.shape == driving.shape == (4, 3, 256, 256)
    for i, who in enumerate((0, 1, 1, 2)):
        np.testing.assert_array_equal(driving[i : i + 1], preprocess(Puppet(who, "test").frame(1.0).image))
