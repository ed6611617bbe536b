"""maskanim-train killed in the middle, with real processes: what is resumed repeats the uninterrupted run."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TIMEOUT = 240.0  # beside another worker, and whatever else a machine has to do


def command(config: Path, out: Path, *more: str) -> list[str]:
    options = ["--config", str(config), "--data", "synthetic", "--out", str(out), "--save-every", "2"]
    return [sys.executable, "-m", "maskanim.train", *options, *more]


def losses(out: Path) -> dict[tuple[int, str], float]:
    with (out / "log.csv").open() as file:
        rows = [(int(step), name, float(value)) for step, name, value in csv.reader(file)]
    found = {(step, name): value for step, name, value in rows if name != "images_per_second"}
    assert len(found) == len([row for row in rows if row[1] != "images_per_second"]), "no step is in the log twice"
    return found


def wait_for(path: Path) -> None:
    began = time.monotonic()
    while not path.exists():
        assert time.monotonic() - began < TIMEOUT, f"no {path.name}"
        time.sleep(0.01)


def run_to_the_end(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(
        "{model: {widths: {m: 4, r: 4, l: 8, h: 4}}, perceptual: none, lambda_pixel: 10, batch: 2, epochs: 2,"
        " steps_per_epoch: 5, decay_epochs: [1], identities: 8, precision: bf16,"
        " warmup: {steps: 2, batch: 4, weight: 1.0, fade_steps: 4, gain_steps: 6}}"
    )
    return path


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], float]:
    """The losses of a run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    run_to_the_end(command(config, out, "--workers", "0"))
    return losses(out)


def test_killed_and_resumed(config: Path, whole: dict[tuple[int, str], float], tmp_path: Path) -> None:
    with subprocess.Popen(command(config, tmp_path / "run"), stderr=subprocess.DEVNULL) as process:
        wait_for(tmp_path / "run" / "step-0000006.pt")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "step-0000012.pt").exists(), "killed in the middle"
    (tmp_path / "run" / ".step-0000007.partial-00001-00000000.pt").write_bytes(
        b"what a kill while saving leaves behind"
    )
    run_to_the_end(command(config, tmp_path / "run", "--resume", "--workers", "0"))
    assert losses(tmp_path / "run") == pytest.approx(whole, rel=1e-6, abs=1e-6)
    assert max(step for step, _ in whole) == 12
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to find the worker in")
def test_a_killed_worker_is_one_line(config: Path, tmp_path: Path) -> None:
    arguments = command(config, tmp_path / "run", "--workers", "1")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        wait_for(tmp_path / "run" / "step-0000004.pt")
        worker = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        os.kill(int(worker), signal.SIGKILL)
        told = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 2 and "Traceback" not in told, told
    assert "error: processes that prepare data: one was killed; expected memory for all" in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_while_workers_load(
    number: signal.Signals, config: Path, whole: dict[tuple[int, str], float], tmp_path: Path
) -> None:
    arguments = command(config, tmp_path / "run", "--workers", "1")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_for(tmp_path / "run" / "step-0000002.pt")
        os.killpg(process.pid, number)  # as a terminal does, which tells the workers, too
        _, told = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + number
    assert f"Stopped by {number.name}; go on with the same command and --resume." in told
    done = losses(tmp_path / "run")
    last = max(step for step, _ in done)
    assert 2 <= last < 12 and (tmp_path / "run" / f"step-{last:07d}.pt").is_file()
    expected = {key: value for key, value in whole.items() if key[0] <= last}
    assert done == pytest.approx(expected, rel=1e-6, abs=1e-6)
