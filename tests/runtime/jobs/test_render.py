"""One pair: what each setting makes of the frames, and what is left when it does not go well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from maskanim.atomic import sole_writer
from maskanim.benchmarks.quality.puppets import animated
from maskanim.benchmarks.scoring.videos import _animated
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Frame, preprocess
from maskanim.progress import NoProgress
from maskanim.provenance import manifest
from maskanim.runtime import Animator
from maskanim.runtime.framing import Box, Rectangle, cut
from maskanim.runtime.jobs import Extras, Interrupts, Job, Rendered, RenderSettings, open_inputs, render
from maskanim.runtime.jobs.interrupts import SIGNALS
from maskanim.runtime.jobs.picture import difference_matte
from maskanim.runtime.runner import Source
from maskanim.video import open_clip, read_picture

H264_TOLERANCE = 3.0  # mean absolute difference of 8-bit values that x264 leaves at the writer's quality
PLAIN = RenderSettings(provenance=False)

Do = Callable[..., Rendered]


@pytest.fixture(scope="module")
def animator(tiny_bundle: Bundle) -> Iterator[Animator]:
    with Animator.open(tiny_bundle, "ort") as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("maskanim-")]


@pytest.fixture
def job(picture: Path, tiny_clip: Path, tmp_path: Path) -> Job:
    (tmp_path / "out").mkdir()
    return Job(picture, str(tiny_clip), tmp_path / "out" / "out.mp4")


@pytest.fixture
def do(animator: Animator, job: Job) -> Do:
    """Render the job; keywords change the job or the settings."""

    def run(settings: RenderSettings = PLAIN, **changes: object) -> Rendered:
        return render(animator, replace(job, **changes), settings)  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize("alpha", [False, True])
def test_a_source_is_freed_when_its_video_is_made(
    animator: Animator, job: Job, alpha: bool, tiny_frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU it has memory: of a thousand pairs, each would keep its own until the model is closed."""
    counted: Counter[str] = Counter()

    class Counted(Source):
        def __init__(self, image: Frame) -> None:
            counted["encoded"] += 1
            super().__init__(**vars(encode(image)))

        def close(self) -> None:
            counted["closed"] += 1

    encode = animator.runner.encode_source
    monkeypatch.setattr(animator.runner, "encode_source", Counted)
    render(animator, replace(job, output=job.output.with_suffix(".mov")), replace(PLAIN, keep_alpha=alpha))
    assert len(list(_animated(animator, tiny_frames[0], iter(tiny_frames[:2])))) == 2
    assert len(animated(animator, tiny_frames[0], tiny_frames[:2])) == 2
    assert counted["encoded"] == counted["closed"] == (4 if alpha else 3)


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
    motion, settings = tmp_path / "moves.mmot", replace(PLAIN, start=Fraction(1, 10), loop=2)
    do(extras=Extras(motion=motion))
    do(settings)
    expected = times(job.output)
    do(settings, driving=str(motion))
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


@pytest.mark.parametrize(("label", "told"), [("синтез", "no text that can be drawn"), (99 * "a", "of 256 pixels")])
def test_a_label_that_cannot_be_drawn_is_refused_before_any_work(label: str, told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        RenderSettings(label=label)
    assert RenderSettings(label=99 * "a", paste_back=True), "into a picture of any size"


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
    motion, settings = tmp_path / "m.mmot", replace(PLAIN, keep_alpha=True)
    do(extras=Extras(motion=motion))
    first, second = tmp_path / "out" / "first.mov", tmp_path / "out" / "second.mov"
    do(settings, output=first)
    do(settings, output=second, driving=str(motion))
    assert hashes(first) == hashes(second)


class StopAt(NoProgress):
    """Raises an error at a frame."""

    def __init__(self, frame: int, error: type[BaseException]) -> None:
        self.frame, self.error, self.seen = frame, error, list[tuple[int, int | None]]()

    def update(self, done: int, total: int | None, note: str = "") -> None:
        self.seen.append((done, total))
        if done == self.frame:
            raise self.error


def test_an_interrupt_says_what_is_kept(
    animator: Animator, job: Job, long_clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    long = replace(job, driving=str(long_clip))
    with pytest.raises(KeyboardInterrupt):
        render(animator, long, PLAIN, progress=StopAt(300, KeyboardInterrupt))
    assert caplog.messages == ["stopped; 250 frames are whole: the same command with --resume goes on behind them"]
    assert not job.output.exists()
    done = render(animator, long, replace(PLAIN, resume=True))
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
    ({"audio": 1}, {"driving": "m.mmot"}),
    ({"video": 1}, {"driving": "m.mmot"}),
    ({"driving_crop": "auto"}, {"driving": "m.mmot"}),
]


@pytest.mark.parametrize(("settings", "changes"), TOGETHER)
def test_what_does_not_go_together(settings: dict[str, object], changes: dict[str, object], job: Job) -> None:
    with pytest.raises(MaskanimError, match="one of the two"):
        open_inputs(replace(job, **changes), RenderSettings(**settings))  # type: ignore[arg-type]
    assert not list(job.output.parent.iterdir())


def test_what_cannot_be_signed_is_refused_before_a_model_is_loaded(job: Job) -> None:
    pytest.importorskip("c2pa", reason="signing needs the extra provenance")
    with pytest.raises(MaskanimError, match=r"a \.webm has no place for a C2PA manifest"):
        open_inputs(replace(job, output=job.output.with_suffix(".webm")), RenderSettings(provenance=True))


def test_a_failure_leaves_what_was_there(do: Do, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from maskanim.runtime.sessions import host

    def fail(image: object) -> None:
        raise OSError("no space left")

    job.output.write_bytes(b"what was there")
    monkeypatch.setattr(host, "postprocess", fail)
    with pytest.raises(MaskanimError, match=r"out\.mp4: no space left"):
        do(extras=Extras(motion=tmp_path / "m.mmot", preview=tmp_path / "s.png"))
    assert job.output.read_bytes() == b"what was there" and len(list(job.output.parent.iterdir())) == 1
    assert not (tmp_path / "m.mmot").exists() and not (tmp_path / "s.png").exists()


def test_a_cut_file_gives_what_can_be_decoded(
    do: Do, job: Job, cut_clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = do(driving=str(cut_clip))
    assert 0 < done.frames < 8 and len(frames(job.output)) == done.frames
    (message,) = caplog.messages
    assert message.startswith("warning: ") and "cut.mp4" in message


LONG = """
import sys, time
from pathlib import Path
from maskanim.runtime import Animator
from maskanim.logs import show_logs
from maskanim.runtime.jobs import Job, RenderSettings, render
from rich.console import Console
class Printed:
    def update(self, done, total, note=""):
        print(done, flush=True)
show_logs(Console(file=sys.stdout))
source, driving, output, model, resume = sys.argv[1:]
job, settings = Job(Path(source), driving, Path(output)), RenderSettings(provenance=False, resume=resume == "yes")
with Animator.open(model, "ort") as animator:
    render(animator, job, settings, progress=Printed())
"""


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


@pytest.mark.parametrize("signed", [True, False])
def test_an_output_that_another_render_writes_is_refused_before_any_work(
    animator: Animator, job: Job, signed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))
    with sole_writer(job.output), pytest.raises(MaskanimError) as refused:
        open_inputs(job)
    assert str(refused.value).startswith(f"{job.output}: another render is writing it; ")
    render(animator, job, RenderSettings(provenance=signed))
    assert [path.name for path in job.output.parent.iterdir()] == [job.output.name]


class Endless:
    """A clip that is stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_ends_a_recording_and_the_second_everything(
    number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    interrupts, clip = Interrupts(), Endless()
    interrupts.recording = clip  # type: ignore[assignment]
    with interrupts.heard():
        signal.raise_signal(number)
        assert clip.stopped and "recording ends" in caplog.text
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_single_render_with_the_code_that_shells_use(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end, Interrupts().heard():
        signal.raise_signal(number)
    assert end.value.code == {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}[number.name]
    assert signal.getsignal(number) == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().heard():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_grid_is_eight_frames_wide(do: Do, job: Job) -> None:
    do(replace(PLAIN, view="grid"))
    shown = frames(job.output)
    assert {frame.shape for frame in shown} == {(256, 2048, 3)}
    source = np.moveaxis(preprocess(read_picture(job.source))[0], 0, -1) * 255
    assert np.abs(shown[0][:, :256] - source).mean() < H264_TOLERANCE


def test_the_sound_is_the_drivers_to_the_byte(do: Do, job: Job) -> None:
    def packets(path: Path) -> list[bytes]:
        with av.open(os.fspath(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    do()
    assert packets(job.output) == packets(Path(job.driving))


def test_progress_counts_every_frame(animator: Animator, job: Job, tiny_times: tuple[int, ...]) -> None:
    counted = StopAt(0, KeyboardInterrupt)
    render(animator, job, PLAIN, progress=counted)
    assert counted.seen == [(i, len(tiny_times)) for i in range(1, len(tiny_times) + 1)]


def test_the_source_is_encoded_once(animator: Animator, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Frame] = []
    encode = animator.encode_source
    monkeypatch.setattr(animator, "encode_source", lambda image: (encoded.append(image), encode(image))[1])
    render(animator, job, PLAIN)
    assert len(encoded) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_while_animating(animator: Animator, job: Job, error: type[BaseException]) -> None:
    job.output.write_bytes(b"what was there")
    with pytest.raises(error):
        render(animator, job, PLAIN, progress=StopAt(3, error))
    assert job.output.read_bytes() == b"what was there" and len(list(job.output.parent.iterdir())) == 1


def test_a_failure_while_decoding(do: Do, job: Job, broken_frames: Path) -> None:
    job.output.write_bytes(b"what was there")
    with pytest.raises(MaskanimError, match=r"9\.png"):
        do(driving=str(broken_frames))
    assert job.output.read_bytes() == b"what was there" and len(list(job.output.parent.iterdir())) == 1


def test_a_video_that_cannot_be_signed_leaves_nothing(
    animator: Animator, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("c2pa", reason="signing needs the extra provenance")
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))

    def refuse(*_: object) -> None:
        raise MaskanimError("signing", "no", "yes")

    monkeypatch.setattr(manifest, "sign_video", refuse)
    with pytest.raises(MaskanimError, match="signing: no"):
        render(animator, job, RenderSettings(provenance=True))
    assert not list(job.output.parent.iterdir())
