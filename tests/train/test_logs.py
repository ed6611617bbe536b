"""log.csv and TensorBoard, also behind a process that was killed."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.train.logs import RunLog

pytest.importorskip("tensorboard")


def scalars(out: Path) -> list[tuple[int, float]]:
    """What TensorBoard shows of the figure `coarse`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("coarse")]


def test_figures_and_grids(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog(tmp_path, 0) as log:
        for step in (1, 2):
            log.write(step, {"coarse": step / 4, "mask": 0.1})
        log.draw(2, np.full((256, 2048, 3), 7, np.uint8))
    assert (tmp_path / "log.csv").read_text().split() == ["1,coarse,0.25", "1,mask,0.1", "2,coarse,0.5", "2,mask,0.1"]
    assert scalars(tmp_path) == [(1, 0.25), (2, 0.5)]
    assert (tmp_path / "grids" / "step-0000002.png").is_file()
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert [(image.step, image.width, image.height) for image in events.Images("samples")] == [(2, 2048, 256)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    told = r"log.csv: writing it failed \(No space left on device\)"
    with pytest.raises(MaskanimError, match=told), RunLog(tmp_path, 0) as log:
        log._file.close()
        log._file = Path("/dev/full").open("w")  # noqa: SIM115 - the log closes it
        log._csv = csv.writer(log._file)
        log.write(1, {"coarse": 1.0})
        log.flush()


@pytest.mark.parametrize("left", ["3,coarse,7\n4,coarse,7\n", "3,coarse,7\n4,coa", "3"])
def test_what_a_killed_process_wrote_beyond_its_checkpoint_goes(tmp_path: Path, left: str) -> None:
    with RunLog(tmp_path, 0) as log:
        for step in (1, 2, 3):
            log.write(step, {"coarse": 7.0})
    (tmp_path / "log.csv").write_text("1,coarse,7\n2,coarse,7\n" + left)
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which begin with the second
    with RunLog(tmp_path, 2) as log:
        log.write(3, {"coarse": 8.0})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["1,coarse,7", "2,coarse,7", "3,coarse,8"]
    assert scalars(tmp_path) == [(1, 7.0), (2, 7.0), (3, 8.0)]


def test_it_is_on_the_disk_when_a_checkpoint_is_written(tmp_path: Path) -> None:
    with RunLog(tmp_path, 0) as log:
        log.write(1, {"coarse": 7.0})
        log.flush()
        assert (tmp_path / "log.csv").read_text() == "1,coarse,7\n" and scalars(tmp_path) == [(1, 7.0)]
