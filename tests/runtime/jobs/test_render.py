"""One pair: what each setting makes of the frames, and what is left when it does not go well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.runtime import Animator
from maskanim.runtime.framing import Box, Rectangle, cut
from maskanim.runtime.jobs import Extras, Interrupts, Job, Rendered, RenderSettings, open_inputs, render
from maskanim.runtime.jobs.picture import difference_matte
from maskanim.video import open_clip, read_picture

H264_TOLERANCE = 3.0  # mean absolute difference of 8-bit values that x264 leaves at the writer's quality
PLAIN = RenderSettings(provenance=False)

Do = Callable[..., Rendered]


@pytest.fixture(scope="module")
def animator(tiny_bundle: Bundle) -> Iterator[Animator]:
    with Animator.open(tiny_bundle, "ort") as opened:
        yield opened


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def job(picture: Path, tiny_clip: Path, tmp_path: Path) -> Job:
    (tmp_path / "out").mkdir()
    return Job(picture, str(tiny_clip), tmp_path / "out" / "out.mp4")


@pytest.fixture
def do(animator: Animator, job: Job, told: list[str]) -> Do:
    """Render the job; keywords change the job or the settings."""

    def run(how: RenderSettings = PLAIN, **changes: object) -> Rendered:
        changed = replace(job, **changes)  # type: ignore[arg-type]
        return render(animator, changed, how, open_inputs(changed, how), told.append)

    return run


def frames(path: Path) -> list[Frame]:
    with open_clip(path) as clip:
        return [frame.image for frame in clip]


def times(path: Path) -> list[int]:
    with open_clip(path) as clip:
        return [frame.pts for frame in clip]


def difference(a: Frame, b: Frame) -> float:
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def test_frames_times_and_sound(
    do: Do, job: Job, animator: Animator, tiny_frames: list[Frame], tiny_times: tuple[int, ...]
) -> None:
    done = do()
    assert (done.output, done.frames, done.kept) == (job.output, len(tiny_times), 0) and done.rate > 0
    assert times(job.output) == list(tiny_times)
    source = animator.encode_source(read_picture(job.source))
    for shown, driving in zip(frames(job.output), frames(Path(job.driving)), strict=True):
        assert difference(shown, animator.animate(source, driving)) < H264_TOLERANCE
    assert sorted(path.name for path in job.output.parent.iterdir()) == ["out.mp4"]


def test_a_part_at_a_rate_of_its_own(do: Do, job: Job) -> None:
    do(replace(PLAIN, start=Fraction(1, 10), end=Fraction(2, 10), fps=Fraction(50), loop=2))
    with open_clip(job.output) as clip:
        shown = [float(frame.pts * clip.time_base) for frame in clip]
    assert shown == pytest.approx([i / 50 for i in range(10)])


def test_side_by_side(do: Do, job: Job) -> None:
    do(replace(PLAIN, view="side-by-side"))
    image = frames(job.output)[0]
    width = round(96 * 256 / 72)
    assert image.shape == (256, 256 + 2 * (width + width % 2) - 2 * (width % 2), 3)
    assert difference(image[:, :width], image[:, width : 2 * width]) < 20, "source and driver begin with one picture"


def test_the_named_square_is_animated_and_put_back(do: Do, job: Job, animator: Animator) -> None:
    crop = Rectangle(20, 4, 64, 64)
    do(replace(PLAIN, crop=crop, driving_crop=crop, paste_back=True))
    picture, box = read_picture(job.source), Box(20, 4, 64)
    source = animator.encode_source(cut(picture, box))
    expected = animator.animate(source, cut(frames(Path(job.driving))[2], box))
    shown = frames(job.output)[2]
    assert shown.shape == picture.shape
    outside = np.ones(picture.shape[:2], bool)
    outside[4:68, 20:84] = False
    assert np.abs(shown[outside].astype(float) - picture[outside]).mean() < H264_TOLERANCE
    middle = cv2.resize(expected, (64, 64), interpolation=cv2.INTER_AREA)[16:48, 16:48]
    assert difference(shown[20:52, 36:68], middle) < 2 * H264_TOLERANCE, "chroma is halved across the seam"


def test_a_motion_file_gives_the_same_frames_as_its_video(do: Do, job: Job, tmp_path: Path) -> None:
    motion = tmp_path / "moves.mmot"
    do(extras=Extras(motion=motion))
    first = tmp_path / "first.mp4"
    job.output.rename(first)
    do(driving=str(motion))
    assert times(job.output) == times(first)
    assert all(np.array_equal(a, b) for a, b in zip(frames(job.output), frames(first), strict=True))


def test_a_motion_file_is_cut_like_a_clip(do: Do, job: Job, tmp_path: Path) -> None:
    motion, how = tmp_path / "moves.mmot", replace(PLAIN, start=Fraction(1, 10), loop=2)
    do(extras=Extras(motion=motion))
    do(how)
    expected = times(job.output)
    do(how, driving=str(motion))
    assert times(job.output) == expected and len(expected) > 8


def test_masks_and_preview(do: Do, job: Job, tmp_path: Path, tiny_times: tuple[int, ...]) -> None:
    do(extras=Extras(masks=tmp_path / "masks", preview=tmp_path / "sheet.png"))
    masks = sorted((tmp_path / "masks" / "refined").iterdir())
    assert len(masks) == len(tiny_times)
    assert cv2.imread(os.fspath(masks[0]), cv2.IMREAD_UNCHANGED).shape == (64, 64)
    assert read_picture(tmp_path / "sheet.png").shape[0] > 256


def test_a_label_is_written_into_the_corner(do: Do, job: Job) -> None:
    do()
    plain = frames(job.output)[0]
    do(replace(PLAIN, label="synthetic"))
    labelled = frames(job.output)[0]
    assert difference(labelled[-24:, -80:], plain[-24:, -80:]) > 20
    assert difference(labelled[:128, :128], plain[:128, :128]) < H264_TOLERANCE


def test_alpha_moves_with_the_object(do: Do, job: Job, tmp_path: Path) -> None:
    """The tiny networks are random: what they give over black and over white is what the result has to look like."""
    clear = tmp_path / "clear.png"
    rgba = np.dstack([cv2.imread(os.fspath(job.source)), np.zeros((72, 96), np.uint8)])
    rgba[20:50, 30:60, 3] = 255
    cv2.imwrite(os.fspath(clear), rgba)
    output = job.output.with_suffix(".mov")
    do(replace(PLAIN, keep_alpha=True), source=clear, output=output)
    with av.open(os.fspath(output)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgba")
    assert image.shape == (256, 256, 4) and len(np.unique(image[..., 3])) > 1


def test_alpha_by_a_motion_file(do: Do, job: Job, tmp_path: Path) -> None:
    motion, how = tmp_path / "m.mmot", replace(PLAIN, keep_alpha=True)
    do(extras=Extras(motion=motion))
    first, second = tmp_path / "out" / "first.mov", tmp_path / "out" / "second.mov"
    do(how, output=first)
    do(how, output=second, driving=str(motion))
    assert hashes(first) == hashes(second)


def test_an_interrupt_says_what_is_kept(
    animator: Animator, job: Job, long_clip: Path, told: list[str], tmp_path: Path
) -> None:
    def stop(done: int, total: int | None) -> None:
        if done == 300:
            raise KeyboardInterrupt

    long = replace(job, driving=str(long_clip))
    with pytest.raises(KeyboardInterrupt):
        render(animator, long, PLAIN, open_inputs(long, PLAIN), told.append, stop)
    assert told == ["stopped; 250 frames are whole: the same command with --resume goes on behind them"]
    assert not job.output.exists()
    resumed = replace(PLAIN, resume=True)
    done = render(animator, long, resumed, open_inputs(long, resumed), told.append)
    assert (done.kept, done.frames) == (250, 350)
    assert [path.name for path in job.output.parent.iterdir()] == ["out.mp4"]


def test_the_matte_is_exact_where_there_is_one() -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (40, 50, 4)).astype(np.float64)
    rgba[:10, :, 3], rgba[10:20, :, 3] = 0, 255
    share = rgba[..., 3:] / 255
    black, white = rgba[..., :3] * share, rgba[..., :3] * share + 255 * (1 - share)
    found = difference_matte(np.rint(black).astype(np.uint8), np.rint(white).astype(np.uint8)).astype(float)
    assert np.abs(found[..., 3] - rgba[..., 3]).max() <= 1, "each of the two was rounded"
    again = found[..., :3] * found[..., 3:] / 255
    assert np.abs(again - black).max() <= 1.01


TOGETHER = [
    ({"view": "grid", "paste_back": True}, {}),
    ({"view": "grid", "keep_alpha": True}, {}),
    ({"resume": True}, {"extras": Extras(masks=Path("masks"))}),
    ({"resume": True}, {"extras": Extras(motion=Path("m.mmot"))}),
    ({"view": "grid"}, {"driving": "m.mmot"}),
    ({"view": "side-by-side"}, {"driving": "m.mmot"}),
    ({}, {"driving": "m.mmot", "extras": Extras(masks=Path("masks"))}),
    ({}, {"driving": "m.mmot", "extras": Extras(motion=Path("n.mmot"))}),
]


@pytest.mark.parametrize(("how", "changes"), TOGETHER)
def test_what_does_not_go_together(
    how: dict[str, object], changes: dict[str, object], job: Job, told: list[str]
) -> None:
    with pytest.raises(MaskanimError, match="one of the two"):
        open_inputs(replace(job, **changes), RenderSettings(**how))  # type: ignore[arg-type]
    assert not list(job.output.parent.iterdir())


def test_a_failure_leaves_what_was_there(do: Do, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maskanim.runtime import host

    def fail(image: object) -> None:
        raise OSError("no space left")

    job.output.write_bytes(b"what was there")
    monkeypatch.setattr(host, "postprocess", fail)
    with pytest.raises(OSError, match="no space left"):
        do(extras=Extras(motion=tmp_path / "m.mmot", preview=tmp_path / "s.png"))
    assert job.output.read_bytes() == b"what was there" and len(list(job.output.parent.iterdir())) == 1
    assert not (tmp_path / "m.mmot").exists() and not (tmp_path / "s.png").exists()


def test_a_cut_file_gives_what_can_be_decoded(do: Do, job: Job, cut_clip: Path, told: list[str]) -> None:
    done = do(driving=str(cut_clip))
    assert 0 < done.frames < 8 and len(frames(job.output)) == done.frames
    assert len(told) == 1 and told[0].startswith("warning: ") and "cut.mp4" in told[0]


LONG = """
import sys, time
from pathlib import Path
from maskanim.runtime import Animator
from maskanim.runtime.jobs import Job, RenderSettings, open_inputs, render
source, driving, output, model, resume = sys.argv[1:]
job, how = Job(Path(source), driving, Path(output)), RenderSettings(provenance=False, resume=resume == "yes")
with Animator.open(model, "ort") as animator:
    render(animator, job, how, open_inputs(job, how), print, lambda done, total: print(done, flush=True))
"""


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """Six hundred frames of 64x64: three segments."""
    path, rng = tmp_path / "long.mp4", np.random.default_rng(0)
    with av.open(os.fspath(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width = stream.height = 64
        for _ in range(600):
            small = rng.integers(0, 256, (8, 8, 3), np.uint8)
            image = cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    return path


def hashes(path: Path) -> list[bytes]:
    with av.open(os.fspath(path)) as container:
        return [frame.to_ndarray(format="rgba").tobytes() for frame in container.decode(video=0)]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_render_goes_on_to_the_same_frames(
    picture: Path, long_clip: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    def start(output: Path, resume: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LONG, str(picture), str(long_clip), str(output), str(tiny_bundle.path), resume]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    whole = start(tmp_path / "whole.mp4", "no")
    assert whole.communicate(timeout=120) and whole.returncode == 0
    killed = start(tmp_path / "killed.mp4", "no")
    assert killed.stdout
    stop_at = int(np.random.default_rng().integers(320, 590))  # behind the first segment; any moment must do
    for line in killed.stdout:
        if line.strip() == str(stop_at):
            killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "killed.mp4").exists()
    resumed = start(tmp_path / "killed.mp4", "yes")
    told, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0 and "frames that are whole" in told
    assert int(told.split("\n")[1]) > 250, "it did not begin again"
    assert hashes(tmp_path / "killed.mp4") == hashes(tmp_path / "whole.mp4"), f"killed at {stop_at}"


class Endless:
    """A clip that is stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


def test_the_first_interrupt_ends_a_recording_and_the_second_everything(told: list[str]) -> None:
    interrupts, clip = Interrupts(told.append), Endless()
    interrupts.recording = clip  # type: ignore[assignment]
    interrupts(signal.SIGINT, None)
    assert clip.stopped and "recording ends" in told[0]
    with pytest.raises(KeyboardInterrupt):
        interrupts(signal.SIGINT, None)


def test_an_interrupt_of_one_render_ends_it(told: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        Interrupts(told.append)(signal.SIGINT, None)
    assert not told
