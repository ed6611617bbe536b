"""A render that was killed goes on where its last whole segment ends, and comes out the same to the byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.video import ClipWriter, Encoding, ResumableWriter, open_clip
from maskanim.video import resume as resume_module

WriteClip = Callable[..., Path]
Shown = Callable[[Path], list[tuple[Fraction, Fraction]]]
AssertNothingLeft = Callable[..., None]

SEGMENT, FRAMES = 10, 64
PTS = [100 + 3000 * i + 40 * (i % 7) for i in range(FRAMES)]
FAST = Encoding(30, "ultrafast")
FOLDER = ".out.mp4.maskanim"
RENDER = """
import os, signal, sys, time
from pathlib import Path
from maskanim.video import Encoding, ResumableWriter, open_clip
from maskanim.video import resume
driving, out, pause, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
resume.SEGMENT_FRAMES = 10
mux, muxed = resume.OutputFile.mux, []
def mux_or_die(self, packet):  # in the midst of the joining
    muxed.append(packet.pts)
    if len(muxed) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    mux(self, packet)
resume.OutputFile.mux = mux_or_die
print("ready", flush=True)
with open_clip(driving) as clip, ResumableWriter(
    out, clip, Encoding(30, "ultrafast"), fingerprint="a", resume=True
) as writer:
    if writer.last_pts is not None:
        clip.skip_past(writer.last_pts)
    for image, pts in clip:
        time.sleep(pause)
        writer.write(255 - image, pts)
"""


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume_module, "SEGMENT_FRAMES", SEGMENT)


@pytest.fixture
def driving(tmp_path: Path, make_clip: WriteClip) -> Path:
    """A clip of a variable rate, with audio."""
    (tmp_path / "given").mkdir()
    return make_clip(tmp_path / "given/in.mp4", PTS, Fraction(1, 90000), 777, audio="aac", size=(64, 64))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the render goes, in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out/out.mp4"


def render(
    driving: Path, out: Path, *, stop_at: int | None = None, resume: bool = False, fingerprint: str = "a"
) -> tuple[int, list[str]]:
    """Render the negative of a clip; interrupted before a frame, if that is said.

    Returns:
        How many frames were whole before, and what was told.
    """
    with (
        open_clip(driving) as clip,
        ResumableWriter(out, clip, FAST, fingerprint=fingerprint, resume=resume) as writer,
    ):
        if writer.last_pts is not None:
            clip.skip_past(writer.last_pts)
        for i, (image, pts) in enumerate(clip, writer.frames_done):
            if i == stop_at:
                raise KeyboardInterrupt
            writer.write(255 - image, pts)
    return writer.frames_done, writer.told


def interrupted(driving: Path, out: Path, stop_at: int, **options: object) -> None:
    with pytest.raises(KeyboardInterrupt):
        render(driving, out, stop_at=stop_at, **options)  # type: ignore[arg-type]


def packets(path: Path) -> list[tuple[int, int | None, int | None, str]]:
    """(stream, pts, duration, hash) of every packet of a file."""
    with av.open(str(path)) as container:
        return [
            (packet.stream_index, packet.pts, packet.duration, hashlib.sha256(bytes(packet)).hexdigest())
            for packet in container.demux()
            if packet.size
        ]


@pytest.fixture
def unbroken(tmp_path: Path, driving: Path) -> Path:
    """The render that nothing interrupted."""
    (tmp_path / "unbroken").mkdir()
    render(driving, tmp_path / "unbroken/out.mp4")
    return tmp_path / "unbroken/out.mp4"


# Whole renders


def test_a_render_has_the_times_and_the_audio_of_its_driving_clip(
    unbroken: Path, driving: Path, shown: Shown, assert_nothing_left: AssertNothingLeft
) -> None:
    assert shown(unbroken) == shown(driving)
    assert [p for p in packets(unbroken) if p[0] == 1] == [p for p in packets(driving) if p[0] == 1]
    assert_nothing_left(unbroken.parent, "out.mp4")


def test_a_short_render_is_what_the_other_writer_makes(
    tmp_path: Path, driving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume_module, "SEGMENT_FRAMES", 250)
    render(driving, tmp_path / "segments.mp4")
    with open_clip(driving) as clip, ClipWriter(tmp_path / "once.mp4", clip, FAST) as writer:
        for image, pts in clip:
            writer.write(255 - image, pts)
    assert packets(tmp_path / "segments.mp4") == packets(tmp_path / "once.mp4")


@pytest.mark.parametrize("name", ["out.mov", "out.webm"])
def test_other_containers_go_on_to_the_same_bytes(tmp_path: Path, driving: Path, name: str) -> None:
    render(driving, tmp_path / f"unbroken-{name}")
    interrupted(driving, tmp_path / name, 33)
    assert render(driving, tmp_path / name, resume=True)[0] == 30
    assert packets(tmp_path / name) == packets(tmp_path / f"unbroken-{name}")


# Killed


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_killed_at_random_moments_and_while_joining(
    tmp_path: Path, driving: Path, out: Path, unbroken: Path, assert_nothing_left: AssertNothingLeft
) -> None:
    """Two kills at moments that only chance knows, one while joining, then the end."""
    chance, pause = random.Random(), 0.02  # no two moments drawn below are late enough for 64 of these
    for kill_at in (0, 0, 30):
        command = [sys.executable, "-c", RENDER, driving, out, str(0 if kill_at else pause), str(kill_at)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout and process.stdout.readline() == "ready\n"
            if not kill_at:
                time.sleep(chance.uniform(0.1, 0.6))
                process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        assert not out.exists(), "a file appears only when it is whole"
    assert (out.parent / FOLDER / "unfinished.mp4").exists(), "it was killed in the midst of the joining"
    done, told = render(driving, out, resume=True)
    assert done == FRAMES and told == []
    assert packets(out) == packets(unbroken)
    assert_nothing_left(out.parent, "out.mp4")


# Interrupted


def test_an_interrupted_render_goes_on(
    driving: Path, out: Path, unbroken: Path, assert_nothing_left: AssertNothingLeft
) -> None:
    out.write_bytes(b"an earlier result")
    interrupted(driving, out, 37)
    assert out.read_bytes() == b"an earlier result"
    assert_nothing_left(out.parent, "out.mp4", FOLDER)
    assert not list((out.parent / FOLDER).glob("unfinished*"))
    interrupted(driving, out, 45, resume=True)
    assert render(driving, out, resume=True) == (40, [])
    assert packets(out) == packets(unbroken)
    assert_nothing_left(out.parent, "out.mp4")


def test_nothing_stays_of_a_render_without_a_whole_segment(
    driving: Path, out: Path, assert_nothing_left: AssertNothingLeft
) -> None:
    interrupted(driving, out, SEGMENT - 1)
    assert_nothing_left(out.parent)


def test_without_resume_leftovers_are_replaced(
    driving: Path, out: Path, unbroken: Path, assert_nothing_left: AssertNothingLeft
) -> None:
    interrupted(driving, out, 37, fingerprint="another")
    assert render(driving, out) == (0, [])
    assert packets(out) == packets(unbroken)
    assert_nothing_left(out.parent, "out.mp4")


def test_a_failure_before_the_first_frame_leaves_an_earlier_render_as_it_is(driving: Path, out: Path) -> None:
    interrupted(driving, out, 37)
    interrupted(driving, out, 0)
    interrupted(driving, out, 0, resume=True, fingerprint="another")
    assert render(driving, out, resume=True)[0] == 30


# Other and damaged leftovers


def test_a_render_of_something_else_is_begun_anew(driving: Path, out: Path, unbroken: Path) -> None:
    interrupted(driving, out, 37, fingerprint="another")
    done, (told,) = render(driving, out, resume=True)
    assert done == 0 and told.endswith("of something else, or made otherwise; begun anew")
    assert packets(out) == packets(unbroken)


def test_a_record_that_cannot_be_read_or_is_newer(driving: Path, out: Path) -> None:
    record = out.parent / FOLDER / "render.json"
    for change in (lambda text: "{", lambda text: "[]", lambda text: json.dumps({**json.loads(text), "version": 2})):
        interrupted(driving, out, 37)
        record.write_text(change(record.read_text()))
        done, (told,) = render(driving, out, resume=True)
        assert done == 0 and told.endswith("begun anew")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def move_a_frame(path: Path) -> None:
    path.write_text(path.read_text().replace(str(PTS[SEGMENT + 3]), str(PTS[SEGMENT + 3] + 1)))


@pytest.mark.parametrize(
    ("name", "damage"),
    [("000001.mkv", flip), ("000001.json", flip), ("000001.json", move_a_frame), ("000001.mkv", Path.unlink)],
)
def test_a_damaged_segment_is_made_again(
    driving: Path, out: Path, unbroken: Path, name: str, damage: Callable[[Path], None]
) -> None:
    interrupted(driving, out, 47)
    damage(out.parent / FOLDER / name)
    done, (told,) = render(driving, out, resume=True)
    assert done == 10 and told.endswith("segment 2 of the unfinished render is damaged; going on behind frame 10")
    assert packets(out) == packets(unbroken)


def test_another_clip_is_noticed(tmp_path: Path, make_clip: WriteClip, driving: Path, out: Path) -> None:
    interrupted(driving, out, 37)
    other = make_clip(tmp_path / "other.mp4", [pts + 20 for pts in PTS], Fraction(1, 90000), 777, size=(64, 64))
    with pytest.raises(MaskanimError, match=r"no frame at .* expected the clip that was rendered before"):
        render(other, out, resume=True)


def test_frames_of_another_size_are_refused(driving: Path, out: Path) -> None:
    interrupted(driving, out, 37)
    with open_clip(driving) as clip, ResumableWriter(out, clip, FAST, fingerprint="a", resume=True) as writer:
        assert writer.last_pts is not None
        with pytest.raises(MaskanimError, match="frames of 128x64; expected 64x64, as those that are done"):
            writer.write(np.zeros((64, 128, 3), np.uint8), writer.last_pts + 1)
        clip.skip_past(writer.last_pts)
        for image, pts in clip:
            writer.write(255 - image, pts)


def test_one_process_at_a_time(driving: Path, out: Path) -> None:
    with open_clip(driving) as clip, ResumableWriter(out, clip, FAST, fingerprint="a") as writer:
        for image, pts in clip:
            writer.write(255 - image, pts)
            if clip.frame_duration and pts > 3000 * 20:
                break
        with pytest.raises(MaskanimError, match=r"out\.mp4: another process is writing it"):
            render(driving, out)
        with pytest.raises(MaskanimError, match="another process is writing it"):
            render(driving, out, resume=True)


# A full disk


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_a_full_disk(tmp_path: Path, driving: Path, out: Path, unbroken: Path) -> None:
    """The size of files is limited, which is refused where and as a full disk is: at first every segment fits."""
    out.write_bytes(b"an earlier result")
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n" + RENDER
    size = unbroken.stat().st_size
    for limit, kept in ((1500, 0), (size * 2 // 3, FRAMES)):
        command = [sys.executable, "-c", script.format(limit).replace("{}", "{{}}"), driving, out, "0", "0"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        last = ran.stderr.strip().splitlines()[-1]
        assert "out.mp4: writing it failed (File too large); expected a complete clip. Make room on its disk" in last
        assert (f"{kept} frames are kept" in last) == bool(kept)
        assert out.read_bytes() == b"an earlier result"
    assert render(driving, out, resume=True)[0] == FRAMES
    assert packets(out) == packets(unbroken)


def test_no_space_for_the_record_of_a_segment(
    driving: Path, out: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = resume_module.write_text, []

    def full(path: Path, text: str) -> None:
        written.append(path)
        if len(written) == 4:
            raise OSError(28, os.strerror(28))
        write(path, text)

    with monkeypatch.context() as patched:
        patched.setattr(resume_module, "write_text", full)
        with pytest.raises(MaskanimError, match=r"No space left on device.*Make room.* --resume: 20 frames are kept"):
            render(driving, out)
    assert render(driving, out, resume=True) == (20, [])
    assert packets(out) == packets(unbroken)
