"""Work for several processes, and what becomes of it when one of them ends."""

from __future__ import annotations

import os

import pytest

from maskanim.errors import MaskanimError
from maskanim.train.processes import in_processes
from maskanim.video import read_picture


def test_each_job_comes_with_its_result() -> None:
    assert dict(in_processes(abs, [-1, 2, -3], 2)) == {-1: 1, 2: 2, -3: 3}


def test_an_error_is_that_of_its_job() -> None:
    with pytest.raises(MaskanimError, match=r"nowhere.jpg: there is no such file"):
        list(in_processes(read_picture, ["nowhere.jpg"], 1))


def test_a_process_that_is_killed_is_one_line() -> None:
    with pytest.raises(MaskanimError, match="2 processes: one was killed; expected memory for all of them"):
        list(in_processes(os._exit, [9], 2))
