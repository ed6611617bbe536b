"""Batches on Ray: the same as on one machine, whichever worker dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.runtime.cli import app
from maskanim.runtime.jobs import Job, Summary
from maskanim.runtime.jobs.cluster import _share, check_for_cluster

COMMAND = [sys.executable, "-c", "from maskanim.runtime.cli import main; main()"]
LINUX_ONLY = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for Ray's workers in /proc")
# Opening a certain file ends the process, as a library's heap corruption does.
CRASHING = """
import os, sys
def crash(event, arguments):
    if event == "open" and str(arguments[0]).endswith("crash.png"):
        os.abort()
sys.addaudithook(crash)
"""


def started(folder: Path, model: Bundle, out: str, *more: str) -> subprocess.Popen[str]:
    values = ["--pairs", "pairs.csv", "-o", out, "--model", model.path, "--engine", "ort", "--no-provenance", *more]
    return subprocess.Popen(
        [*COMMAND, *map(str, values)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "site")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers() -> list[int]:
    """The processes that render on Ray, which gives them this name; those of others, too."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            named = path.read_bytes().startswith(b"ray::Worker.render")
        except OSError:  # it has ended
            continue
        if named:
            found.append(int(path.parent.name))
    return found


def session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def kill_a_worker(of: subprocess.Popen[str]) -> None:
    """One that is at work on a job."""
    while not (found := [pid for pid in workers() if session(pid) == of.pid]):
        assert of.poll() is None, of.communicate()
    os.kill(found[0], signal.SIGKILL)


@pytest.fixture
def pairs(tmp_path: Path, picture: Path, tiny_clip: Path) -> Path:
    """Twelve pairs in this folder: the picture of one is bad, that of another kills who opens it."""
    shutil.copy(tiny_clip, tmp_path / "clip.mp4")
    names = [f"s{number}.png" for number in range(10)] + ["bad.png", "crash.png"]
    for name in names:
        shutil.copy(picture, tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHING)
    (tmp_path / "pairs.csv").write_text("\n".join(["source,driving", *(f"{name},clip.mp4" for name in names)]))
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@LINUX_ONLY
def test_the_same_files_as_of_one_machine_though_a_worker_is_killed(pairs: Path, tiny_bundle: Bundle) -> None:
    pytest.importorskip("ray", reason="needs the extra cluster")
    plain = started(pairs, tiny_bundle, "plain")
    told = plain.communicate(timeout=120)[0].splitlines()[-3:]
    on_ray = started(pairs, tiny_bundle, "ray", "--ray", "--ray-cores", "1")
    while len(list(pairs.glob("ray/*.mp4"))) < 3:
        assert on_ray.poll() is None, on_ray.communicate()
        time.sleep(0.01)
    kill_a_worker(on_ray)
    output, errors = on_ray.communicate(timeout=120)
    assert on_ray.returncode == plain.returncode == 1, errors
    assert files(pairs / "ray") == files(pairs / "plain") and len(files(pairs / "ray")) == 11
    model, engine, ray, *summary = output.splitlines()
    assert "tiny" in model and "ort" in engine and ray.startswith("ray: ") and ray.endswith("num_cpus of each: 1")
    assert summary[0] == told[0] == "10 rendered, 0 there already, 2 failed"
    assert "bad.png: not a picture" in summary[1] and "bad.png: not a picture" in told[1]
    assert summary[2].startswith("failed: crash-clip.mp4: crash-clip.mp4: the worker that rendered it died")
    assert errors.count("died; another one renders it") == 2 and "Traceback" not in errors and "raylet" not in errors

    again = started(pairs, tiny_bundle, "ray")
    assert "0 rendered, 10 there already, 2 failed" in again.communicate(timeout=120)[0]


@LINUX_ONLY
def test_ctrl_c_finishes_what_is_under_way(pairs: Path, tiny_bundle: Bundle) -> None:
    pytest.importorskip("ray", reason="needs the extra cluster")
    process = started(pairs, tiny_bundle, "out", "--ray", "--ray-cores", "1")
    while not list(pairs.glob("out/*.mp4")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, errors = process.communicate(timeout=60)
    counts = output.splitlines()[-1]
    assert process.returncode == 1 and "0 failed" in counts and "not begun" in counts, errors
    assert "finishing" in errors and "Traceback" not in errors
    assert counts.startswith(f"{len(list(pairs.glob('out/*.mp4')))} rendered")
    assert not list(pairs.glob("out/.*.maskanim")) and not [pid for pid in workers() if session(pid) == process.pid]


def node(**resources: float) -> dict[str, Any]:
    return {"Alive": True, "Resources": resources}


def test_a_worker_takes_a_gpu_or_some_cores() -> None:
    gpus, plain, gone = node(CPU=16.0, GPU=4.0), node(CPU=10.0), {"Alive": False, "Resources": {"CPU": 64.0}}
    assert _share([gpus, plain, gone], "auto", None) == _share([gpus, plain], "trt", 8) == ({"num_gpus": 1}, 4)
    assert _share([gpus, plain], "openvino", None) == ({"num_cpus": 4}, 6)
    assert _share([plain, gone], "auto", 3) == ({"num_cpus": 3}, 3)
    assert _share([node(CPU=2.0)], "auto", None) == ({"num_cpus": 2}, 1)
    with pytest.raises(MaskanimError, match=r"--engine trt: a cluster without a GPU"):
        _share([plain], "trt", None)
    with pytest.raises(MaskanimError, match=r"--ray-cores 12: a cluster whose machines have 10 cores"):
        _share([plain, gone], "auto", 12)


def test_feeds_belong_to_one_machine() -> None:
    with pytest.raises(MaskanimError, match=r"camera:0: together with --ray"):
        check_for_cluster([Job(Path("a.png"), "b.mp4", Path("c.mp4")), Job(Path("a.png"), "camera:0", Path("d.mp4"))])


def test_ray_takes_an_address_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def render_on_ray(*arguments: Any) -> Summary:
        asked.append(arguments[-2:])
        return Summary()

    monkeypatch.setattr("maskanim.runtime.cli._on_ray", render_on_ray)
    start = ["--source", "a.png", "--driving", "b.mp4", "-o", str(tmp_path)]
    for more in (["--ray"], ["--ray", "--ray-cores", "2"], ["--ray", "auto"], ["--ray=10.0.0.1:6379"]):
        assert CliRunner().invoke(app, [*start, *more]).exit_code == 0
    assert asked == [("local", None), ("local", 2), ("auto", None), ("10.0.0.1:6379", None)]
    refused = CliRunner().invoke(app, [*start, "--ray-cores", "2"])
    assert refused.exit_code == 2 and "--ray-cores: without --ray" in refused.stderr


def test_without_the_package(pairs: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    values = ["--pairs", str(pairs / "pairs.csv"), "-o", str(pairs / "out"), "--model", str(tiny_bundle.path), "--ray"]
    refused = CliRunner().invoke(app, values)
    assert refused.exit_code == 2 and "maskanim[cluster]" in refused.stderr, refused.output
    refused = CliRunner().invoke(app, [*values, "--engine", "tpu"])
    assert refused.exit_code == 2 and "engine tpu: no such engine" in refused.stderr, refused.output
