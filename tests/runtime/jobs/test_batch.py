"""Many pairs: what is finished is passed over, what fails is named, and nothing stops the rest."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from maskanim.bundle import Bundle
from maskanim.progress import NoProgress
from maskanim.runtime import Animator
from maskanim.runtime.cli import app
from maskanim.runtime.jobs import Extras, Interrupts, Job, RenderSettings, Summary, render_all, render_unless_there
from maskanim.video import open_clip

PLAIN = RenderSettings(provenance=False)


@pytest.fixture
def twenty(tmp_path: Path, picture: Path, tiny_clip: Path) -> Path:
    """A list of twenty pairs, of which two name bad files."""
    rows = ["source,driving"]
    for number in range(20):
        source, driving = tmp_path / f"s{number}.png", tmp_path / f"d{number}.mp4"
        shutil.copy(picture, source)
        shutil.copy(tiny_clip, driving)
        rows.append(f"{source.name},{driving.name}")
    (tmp_path / "s3.png").write_bytes(b"no picture")
    (tmp_path / "d11.mp4").write_bytes(b"no video")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(rows), "utf-8")
    return path


def run(pairs: Path, out: Path, model: Bundle, *more: str) -> Result:
    values = ("--pairs", str(pairs), "-o", str(out), "--model", str(model.path), "--engine", "ort", "--no-provenance")
    return CliRunner().invoke(app, [*values, *more])


def test_twenty_pairs_of_which_two_are_bad(twenty: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
    out = tmp_path / "out"
    result = run(twenty, out, tiny_bundle)
    assert result.exit_code == 1, result.output
    assert len(list(out.glob("*.mp4"))) == 18
    summary, *failed = result.stdout.splitlines()[-3:]
    assert summary == "18 rendered, 0 there already, 2 failed"
    assert failed[0].startswith("failed: s3-d3.mp4: ") and failed[1].startswith("failed: s11-d11.mp4: ")

    before = {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    again = run(twenty, out, tiny_bundle)
    assert again.exit_code == 1 and "0 rendered, 18 there already, 2 failed" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.mp4")} == before

    shutil.copy(tmp_path / "s4.png", tmp_path / "s3.png")
    (out / "s5-d5.mp4").unlink()
    mended = run(twenty, out, tiny_bundle)
    assert "2 rendered, 17 there already, 1 failed" in mended.stdout


def test_other_settings_render_anew(twenty: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
    twenty.write_text("source,driving\ns0.png,d0.mp4\n", "utf-8")
    assert run(twenty, tmp_path / "out", tiny_bundle).exit_code == 0
    assert "1 rendered, 0 there" in run(twenty, tmp_path / "out", tiny_bundle, "--label", "synthetic").stdout
    assert "0 rendered, 1 there" in run(twenty, tmp_path / "out", tiny_bundle, "--label", "synthetic").stdout


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_what_is_gone_or_cut_is_rendered_again(
    tiny_bundle: Bundle, picture: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    job = Job(picture, str(tiny_clip), out / "a.mp4", Extras(out / "a.mmot", out / "masks", out / "a.png"))
    losses: list[tuple[str, Callable[[Path], object]]] = [("a.mp4", Path.unlink), ("a.mp4", cut), ("a.mmot", cut)]
    losses += [("a.png", Path.unlink), ("masks/refined/000002.png", cut), ("masks", shutil.rmtree)]
    with Animator.open(tiny_bundle, "ort") as animator:

        def run_again() -> Summary:
            return render_all([job], partial(render_unless_there, animator, PLAIN), Interrupts(several=True))

        assert run_again().rendered
        for name, lose in losses:
            lose(out / name)
            assert run_again().rendered and (out / name).exists(), name
            assert run_again().there == [job], name


def test_what_comes_through_a_pipe_is_never_there_already(
    tiny_bundle: Bundle, picture: Path, tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clip may come after the other under one name."""
    job = Job(picture, "-", tmp_path / "a.mp4")
    with Animator.open(tiny_bundle, "ort") as animator:
        for _ in range(2):
            with tiny_clip.open() as pipe:
                monkeypatch.setattr(sys, "stdin", pipe)
                assert render_all([job], partial(render_unless_there, animator, PLAIN), Interrupts(True)).rendered


def test_an_interrupt_finishes_the_file_and_leaves_the_rest(
    tiny_bundle: Bundle, picture: Path, tiny_clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [Job(picture, str(tiny_clip), tmp_path / "out" / f"{name}.mp4") for name in "abc"]
    caplog.set_level("INFO")
    interrupts = Interrupts(several=True)

    class Interrupting(NoProgress):
        def update(self, done: int, total: int | None, note: str = "") -> None:
            if done == 3 and not interrupts.asked:
                interrupts(signal.SIGINT, None)

    with Animator.open(tiny_bundle, "ort") as animator:
        render_one = partial(render_unless_there, animator, PLAIN, progress=Interrupting(), interrupts=interrupts)
        summary = render_all(jobs, render_one, interrupts)
    assert [done.output.name for done in summary.rendered] == ["a.mp4"] and summary.left == jobs[1:]
    assert "2 not begun" in summary.lines()[0] and "finishing this file" in caplog.messages[0]


# Opening a certain file ends the process, as a library's heap corruption does.
CRASHING = """
import os, sys
def crash(event, arguments):
    if event == "open" and str(arguments[0]).endswith("crash.png"):
        os.abort()
sys.addaudithook(crash)
"""
COMMAND = [sys.executable, "-c", "from maskanim.runtime.cli import main; main()"]


def test_a_job_that_crashes_natively_costs_one_job(twenty: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHING)
    shutil.move(tmp_path / "s7.png", tmp_path / "crash.png")
    twenty.write_text(twenty.read_text("utf-8").replace("s7.png", "crash.png"), "utf-8")
    values = ["--pairs", twenty, "-o", "out", "--model", tiny_bundle.path, "--engine", "ort", "--no-provenance"]
    done = subprocess.run(
        [*COMMAND, *map(str, values)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    summary, first, second, third = done.stdout.splitlines()[-4:]
    assert summary == "17 rendered, 0 there already, 3 failed" and "s3-d3.mp4" in first and "s11-d11.mp4" in third
    assert second == (
        "failed: crash-d7.mp4: crash-d7.mp4: the process that rendered it ended by signal SIGABRT; "
        "expected a render without a crash."
    )
    assert len(list((tmp_path / "out").glob("*.mp4"))) == 17


def test_a_crash_costs_one_job_also_beside_standard_input(
    picture: Path, tiny_clip: Path, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHING)
    shutil.copy(picture, tmp_path / "crash.png")
    (tmp_path / "pairs.csv").write_text(f"source,driving\ncrash.png,{tiny_clip}\n{picture},-\n{picture},{tiny_clip}\n")
    values = ["--pairs", "pairs.csv", "-o", "out", "--model", tiny_bundle.path, "--engine", "ort", "--no-provenance"]
    done = subprocess.run(
        [*COMMAND, *map(str, values)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        input=tiny_clip.read_bytes(),
        capture_output=True,
    )
    told = done.stdout.decode()
    assert done.returncode == 1 and "2 rendered, 0 there already, 1 failed" in told, told + done.stderr.decode()
    assert {path.name for path in (tmp_path / "out").glob("*.mp4")} == {"picture-stdin.mp4", "picture-clip.mp4"}


def started(tmp_path: Path, picture: Path, long_clip: Path, model: Bundle) -> subprocess.Popen[str]:
    """A batch of two, while its first file is under way."""
    values = ["--source", picture, "--source", shutil.copy(picture, tmp_path / "b.png"), "--driving", long_clip]
    values += ["-o", "out", "--model", model.path, "--engine", "ort", "--no-provenance"]
    process = subprocess.Popen(
        [*COMMAND, *map(str, values)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "out").glob(".*")):
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM between processes")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_finishes_the_file_under_way(
    number: signal.Signals, tmp_path: Path, picture: Path, long_clip: Path, tiny_bundle: Bundle
) -> None:
    process = started(tmp_path, picture, long_clip, tiny_bundle)
    process.send_signal(number)
    told, errors = process.communicate(timeout=120)
    assert process.returncode == 1 and "1 rendered, 0 there already, 0 failed, 1 not begun" in told, told + errors
    assert "finishing this file" in errors and len(list((tmp_path / "out").glob("*.mp4"))) == 1
    with open_clip(tmp_path / "out" / "picture-long.mp4") as clip:
        assert sum(1 for _ in clip) == 600


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM between processes")
def test_a_second_signal_stops_at_once(tmp_path: Path, picture: Path, long_clip: Path, tiny_bundle: Bundle) -> None:
    process = started(tmp_path, picture, long_clip, tiny_bundle)
    process.send_signal(signal.SIGTERM)
    assert process.stderr
    while "finishing this file" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143 and "Traceback" not in errors, errors
    assert not list((tmp_path / "out").glob("*.mp4"))
