"""Many pairs: what is finished is passed over, what fails is named, and nothing stops the rest."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from maskanim.bundle import Bundle
from maskanim.progress import NoProgress
from maskanim.runtime import Animator
from maskanim.runtime.cli import app
from maskanim.runtime.jobs import Interrupts, Job, RenderSettings, render_all

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
        summary = render_all(animator, jobs, PLAIN, interrupts, Interrupting())
    assert [done.output.name for done in summary.rendered] == ["a.mp4"] and summary.left == jobs[1:]
    assert "2 not begun" in summary.lines()[0] and "finishing this file" in caplog.messages[0]
