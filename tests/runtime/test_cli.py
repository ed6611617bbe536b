"""maskanim-run: what it prints, writes and refuses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner, Result

from maskanim import models
from maskanim.bundle import Bundle
from maskanim.runtime.backends import BACKENDS
from maskanim.runtime.cli import app

Invoke = Callable[..., Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no remembered model."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(models.HOME_VARIABLE, str(tmp_path / "home"))
    return folder


@pytest.fixture
def invoke(here: Path, picture: Path, tiny_clip: Path, tiny_bundle: Bundle) -> Invoke:
    """Run the command on the picture, the clip and the model; arguments replace these, and None leaves one out."""

    def run(*flags: str, **options: object) -> Result:
        options = {"source": picture, "driving": tiny_clip, "model": tiny_bundle.path} | options
        values = [f"--{name}={value}" for name, value in options.items() if value is not None]
        return CliRunner().invoke(app, [*flags, *values])

    return run


def timestamps(path: Path) -> list[int | None]:
    with av.open(os.fspath(path)) as container:
        return [frame.pts for frame in container.decode(video=0)]


def test_a_good_run(invoke: Invoke, here: Path, tiny_times: tuple[int, ...]) -> None:
    result = invoke()
    assert result.exit_code == 0, result.output
    model, engine, passed_over, done = result.stdout.splitlines()
    assert passed_over.startswith("passed over: trt, rtx, ort-cuda (the GPU: no NVIDIA driver; ")
    assert model.startswith("model: tiny in ") and model.endswith("(named)")
    assert engine.startswith("engine: openvino (OpenVINO ")
    assert done.startswith(f"picture-clip.mp4: {len(tiny_times)} frames in ") and done.endswith("frames/s end to end")
    assert [path.name for path in here.iterdir()] == ["picture-clip.mp4"]
    assert timestamps(here / "picture-clip.mp4") == list(tiny_times)


def test_output_grid_and_engine_can_be_chosen(invoke: Invoke, here: Path) -> None:
    (here / "my.mp4").write_bytes(b"an older clip")
    result = invoke("--grid", "-o", "my.mp4", engine="ort")
    assert result.exit_code == 0 and "engine: ort (ONNX Runtime" in result.stdout
    with av.open("my.mp4") as container:
        assert container.streams.video[0].width == 8 * 256


def test_the_engine_that_was_passed_over_is_told(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "openvino")
    lines = invoke().stdout.splitlines()
    assert lines[1].startswith("engine: ort") and lines[3].startswith(
        "passed over: openvino (the package openvino is not"
    )


def test_the_demo(
    here: Path,
    picture: Path,
    tiny_clip: Path,
    tiny_times: tuple[int, ...],
    tiny_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    demo = here.parent / "demo"
    shutil.copytree(tiny_bundle.path, demo / "bundle")
    shutil.copy(picture, demo / "source.png")
    shutil.copy(tiny_clip, demo / "driving.mp4")
    monkeypatch.setattr(models, "DEMO", demo)
    result = CliRunner().invoke(app, ["--demo"])
    assert result.exit_code == 0 and "(the embedded demo)" in result.stdout
    assert timestamps(here / "maskanim-demo.mp4") == list(tiny_times)
    assert CliRunner().invoke(app, ["--demo", "--keep-alpha"]).exit_code == 0 and (here / "maskanim-demo.mov").is_file()
    assert CliRunner().invoke(app, ["--demo", "--source", "no.png"]).exit_code == 2


def uninstall(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setitem(sys.modules, BACKENDS[engine].package, None)
    monkeypatch.delitem(sys.modules, BACKENDS[engine].module, raising=False)


def flipped(bundle: Bundle, place: Path) -> Path:
    shutil.copytree(bundle.path, place)
    content = bytearray((place / "h.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (place / "h.onnx").write_bytes(content)
    return place


def two(place: Path) -> str:
    for name in ("a.mp4", "b.mp4"):
        written(place / name)
    return str(place / "?.mp4")


def clear(place: Path) -> Path:
    import cv2
    import numpy as np

    cv2.imwrite(os.fspath(place), np.zeros((96, 96, 4), np.uint8))
    return place


def small_picture(place: Path) -> Path:
    import cv2
    import numpy as np

    cv2.imwrite(os.fspath(place), np.zeros((40, 200, 3), np.uint8))
    return place


def named_pipe(place: Path) -> Path:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(place)
    return place


def written(place: Path, content: bytes = b"") -> Path:
    place.write_bytes(content)
    return place


REFUSED: dict[str, tuple[Callable[[Path, Bundle, Path], dict[str, object]], str]] = {
    "no source": (lambda t, b, c: {"source": None}, "no --source; expected both"),
    "neither": (lambda t, b, c: {"source": None, "driving": None}, "no --source and --driving"),
    "missing source": (lambda t, b, c: {"source": t / "no.jpg"}, "no.jpg"),
    "missing driving": (lambda t, b, c: {"driving": t / "no.mp4"}, "no.mp4"),
    "text as video": (lambda t, b, c: {"driving": written(t / "t.mp4", b"just a text\n" * 50)}, "t.mp4"),
    "text as picture": (lambda t, b, c: {"source": written(t / "t.jpg", b"just a text\n" * 50)}, "t.jpg"),
    "empty video": (lambda t, b, c: {"driving": written(t / "e.mp4")}, "0 bytes"),
    "a frame that is no picture": (lambda t, b, c: {"driving": c}, "9.png"),
    "small source": (lambda t, b, c: {"source": small_picture(t / "s.png")}, "at least 64x64"),
    "no model": (lambda t, b, c: {"model": t / "no"}, "no such folder"),
    "damaged model": (lambda t, b, c: {"model": flipped(b, t / "flipped")}, "h.onnx: changed since it was written"),
    "unknown engine": (lambda t, b, c: {"engine": "tpu"}, "one of auto, trt, rtx, ort-cuda, openvino, ort"),
    "no GPU": (lambda t, b, c: {"engine": "trt"}, "the GPU: no NVIDIA driver"),
    "unknown precision": (lambda t, b, c: {"precision": "fp8"}, "one of fp16, fp32, int8"),
    "unknown binding": (lambda t, b, c: {"cuda-binding": "numba"}, "one of cuda-core, pycuda"),
    "no batch": (lambda t, b, c: {"batch": 0}, "a positive number of frames"),
    "no output folder": (lambda t, b, c: {"output": t / "no" / "out.mp4"}, "not a folder"),
    "output is an input": (
        lambda t, b, c: {"output": written(t / "in.mp4", b"x"), "source": t / "in.mp4"},
        "same file",
    ),
    "output is no video": (lambda t, b, c: {"output": t / "out.avi"}, "one ending in .mp4, .mov or .webm"),
    "pairs and a source": (lambda t, b, c: {"pairs": t / "p.csv"}, "the pairs alone"),
    "a time that is none": (lambda t, b, c: {"start": "soon"}, "--start: 'soon'"),
    "an end before the start": (lambda t, b, c: {"start": "2", "end": "1"}, "an end behind the start"),
    "a rate that is none": (lambda t, b, c: {"fps": "0"}, "--fps: '0'"),
    "a crop that is none": (lambda t, b, c: {"crop": "left"}, "not a crop"),
    "no such audio track": (lambda t, b, c: {"driving": t / "picture.png", "audio-track": 1}, "no audio track"),
    "a colour that is none": (
        lambda t, b, c: {"background": "reddish", "source": clear(t / "c.png")},
        "a colour such as",
    ),
    "a preview that is the source": (lambda t, b, c: {"preview": t / "picture.png"}, "the same file as an input"),
    "a preview that is no picture": (lambda t, b, c: {"preview": t / "sheet.txt"}, "a name ending in '.txt'"),
    "a named pipe as source": (lambda t, b, c: {"source": named_pipe(t / "pipe.png")}, "a pipe or a device"),
    "several onto what is read": (
        lambda t, b, c: {"driving": written(Path(two(t)).parent / "picture-b.mp4").parent, "output": t},
        "picture-b.mp4: the same file as an input",
    ),
    "several into a file": (lambda t, b, c: {"driving": two(t), "output": t / "o.mp4"}, "a folder, for several pairs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_exit_code_two_and_nothing_written(
    case: str,
    invoke: Invoke,
    here: Path,
    tmp_path: Path,
    tiny_bundle: Bundle,
    broken_frames: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    options, told = REFUSED[case]
    result = invoke(**options(tmp_path, tiny_bundle, broken_frames))
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("error: ") and told in result.stderr
    assert not list(here.iterdir())
    assert capfd.readouterr().err == "", "a library spoke for itself"


def test_the_package_of_a_named_engine_is_missing(invoke: Invoke, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "openvino")
    result = invoke(engine="openvino")
    assert result.exit_code == 2 and "pip install 'maskanim[cpu]'" in result.stderr
    assert not list(here.iterdir())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that not even root can write to")
def test_an_output_folder_that_cannot_be_written_to(invoke: Invoke) -> None:
    result = invoke(output="/proc/out.mp4")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert "no file can be created in /proc" in result.stderr


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--keep-alpha", "-o", "out.mp4"], "no room for alpha"),
        (["--grid", "--side-by-side"], "one of the two"),
        (["--grid", "--paste-back"], "one of the two"),
        (["--resume", "--save-motion", "m.mmot"], "one of the two"),
    ],
)
def test_flags_that_do_not_go_together(flags: list[str], told: str, invoke: Invoke, here: Path) -> None:
    result = invoke(*flags)
    assert result.exit_code == 2 and told in result.stderr and len(result.stderr.splitlines()) == 1
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--live", "--batch", "2"], "together with --batch"),
        (["--live", "--resume"], "together with --resume"),
        (["--live", "--preview", "sheet.png"], "together with --preview"),
        (["--live", "--grid"], "together with --grid"),
        (["--live", "--audio-track", "1"], "together with --audio-track"),
        (["--live", "--ray-cores", "1"], "together with --ray-cores"),
        (["--live", "--keep-alpha"], "together with --keep-alpha"),
        (["--live", "--to", "out.avi"], "no such output"),
        (["--live", "--to", "page.mp4", "--host", "0.0.0.0"], "--host: without a page"),
        (["--to", "page"], "without --live"),
        (["--host", "0.0.0.0"], "without --live"),
    ],
)
def test_what_live_is_not(flags: list[str], told: str, invoke: Invoke, here: Path) -> None:
    result = invoke(*flags)
    assert result.exit_code == 2 and told in result.stderr, result.output
    assert len(result.stderr.splitlines()) == 1 and not list(here.iterdir())


def test_live_onto_its_own_driver(invoke: Invoke, tiny_clip: Path, tmp_path: Path) -> None:
    clip = Path(shutil.copy(tiny_clip, tmp_path / "mine.mp4"))
    result = invoke("--live", "--to", str(clip), driving=clip)
    assert result.exit_code == 2 and "the same file as an input" in result.stderr
    assert clip.read_bytes() == tiny_clip.read_bytes()


def test_live_to_a_file(invoke: Invoke, here: Path) -> None:
    result = invoke("--live", "--side-by-side", "--label", "synthetic", "--no-provenance", to="out.mp4")
    assert result.exit_code == 0, result.output
    assert "live: ended" in result.stdout and [path.name for path in here.iterdir()] == ["out.mp4"]
    with av.open("out.mp4") as container:
        assert container.streams.video[0].width > 2 * 256


def test_live_says_where_to_look_and_who_can(invoke: Invoke) -> None:
    result = invoke("--live", to="page:0", host="0.0.0.0")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert any(line.startswith("live: http://0.0.0.0:") for line in lines)
    assert "warning: everyone who reaches 0.0.0.0 can watch" in lines and lines[-1].startswith("live: ended; ")


def test_a_folder_receives_the_video(invoke: Invoke, here: Path) -> None:
    (here / "out").mkdir()
    assert invoke(output="out").exit_code == 0
    assert [path.name for path in (here / "out").iterdir()] == ["picture-clip.mp4"]


def test_a_failure_keeps_the_output_that_was_there(invoke: Invoke, here: Path, broken_frames: Path) -> None:
    output = written(here / "out.mp4", b"an older clip")
    assert invoke(driving=broken_frames, output=output).exit_code == 2
    assert output.read_bytes() == b"an older clip" and list(here.iterdir()) == [output]


def test_of_a_clip_cut_short_what_decodes_is_kept(invoke: Invoke, here: Path, cut_clip: Path) -> None:
    result = invoke(driving=cut_clip)
    assert result.exit_code == 0 and "warning: " in result.stderr and "what could be read is kept" in result.stderr
    assert len(timestamps(here / "picture-cut.mp4")) > 0


def test_a_clip_through_standard_input(here: Path, picture: Path, tiny_clip: Path, tiny_bundle: Bundle) -> None:
    code = "from maskanim.runtime import cli; cli.main()"
    options = [f"--source={picture}", "--driving=-", f"--model={tiny_bundle.path}", "--engine=ort"]
    with tiny_clip.open("rb") as clip:
        done = subprocess.run(
            [sys.executable, "-c", code, *options], cwd=here, stdin=clip, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert timestamps(here / "picture-stdin.mp4") == timestamps(tiny_clip)


def test_everything_beside_the_video(invoke: Invoke, here: Path, tiny_clip: Path) -> None:
    extras = {"save-motion": "m.mmot", "save-masks": "masks", "preview": "sheet.png", "label": "synthetic"}
    result = invoke("--side-by-side", "--crop=auto", **extras)
    assert result.exit_code in (0, 2), result.output
    if result.exit_code:  # random networks may see no object
        assert "object" in result.stderr and not list(here.iterdir())
        result = invoke("--side-by-side", **extras)
    assert result.exit_code == 0, result.output
    assert {path.name for path in here.iterdir()} == {"picture-clip.mp4", "m.mmot", "masks", "sheet.png"}
    replayed = invoke(driving="m.mmot", output="again.mp4")
    assert replayed.exit_code == 0 and timestamps(here / "again.mp4") == timestamps(tiny_clip)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT between processes")
def test_an_interrupt_leaves_nothing(here: Path, picture: Path, tiny_clip: Path, tiny_bundle: Bundle) -> None:
    code = (
        "import signal, time; from maskanim.runtime import cli\n"
        # A runner in the background of a shell ignores SIGINT, and its children with it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        # Many short sleeps: a signal that comes just before a sleep begins is heard when it ends.
        "def wait(*_):\n"
        "    print('running', flush=True)\n"
        "    for _ in range(600): time.sleep(0.1)\n"
        "cli.ProgressBar.update = wait; cli.main()"
    )
    options = [f"--source={picture}", f"--driving={tiny_clip}", f"--model={tiny_bundle.path}", "--output=out.mp4"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *options], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    for line in process.stdout:
        if line == "running\n":
            break
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - start < 20 and process.returncode != 0 and "Traceback" not in told
    assert not list(here.iterdir())


@pytest.mark.parametrize("length", [235, 250, 255])
def test_long_names(length: int, invoke: Invoke, here: Path, tiny_times: tuple[int, ...]) -> None:
    name = "o" * (length - 4) + ".mp4"
    result = invoke(output=name)
    assert result.exit_code == 0, result.output
    assert timestamps(here / name) == list(tiny_times) and len(list(here.iterdir())) == 1
    assert invoke(output="o" * 252 + ".mp4").exit_code == 2


def test_long_names_of_source_and_driver(invoke: Invoke, here: Path, picture: Path, tiny_clip: Path) -> None:
    source, driving = (here.parent / f"{'n' * 250}{path.suffix}" for path in (picture, tiny_clip))
    shutil.copy(picture, source)
    shutil.copy(tiny_clip, driving)
    assert invoke(source=source, driving=driving).exit_code == 0 and len(list(here.iterdir())) == 1
    result = invoke(source="s" * 300 + ".png")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1 and "too long" in result.stderr


def test_an_output_that_is_a_link_to_itself(invoke: Invoke, here: Path) -> None:
    (here / "lo.mp4").symlink_to("lo.mp4")
    result = invoke(output="lo.mp4")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.output


def test_links_in_a_circle_cost_one_job(invoke: Invoke, here: Path, picture: Path) -> None:
    folder = here.parent / "sources"
    folder.mkdir()
    shutil.copy(picture, folder / "b.png")
    (folder / "a.png").symlink_to("a.png")
    result = invoke(source=folder, output="out")
    assert result.exit_code == 1 and "1 rendered, 0 there already, 1 failed" in result.stdout, result.output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["runtime", "runtime.doctor", "export", "app", "train", "benchmarks", "provenance"])
@pytest.mark.parametrize("arguments", [["--help"]])
def test_a_full_standard_output_is_one_line(command: str, arguments: list[str]) -> None:
    code = f"from maskanim.{command}.cli import main; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr == "error: standard output: No space left on device\n"


# A camera whose frames come through a named pipe: as a driver that hangs, FFmpeg waits in it uninterrupted.
CAMERA = """
from maskanim.video import read
read.DEVICES = {"linux": ("matroska", "camera")}
"""
FEEDS = {  # what drives it, what it is written to, and what is said when it is to end
    "pipe": (["--driving=-", "-o", "out.mp4"], "the recording ends; its file is being finished"),
    "camera": (["--driving=camera:0", "-o", "out.mp4"], "the recording ends; its file is being finished"),
    "live": (["--driving=camera:0", "--live", "--to=out.mp4"], "the recording ends; its file is being finished"),
    "live file": (["--driving=feed.mkv", "--live", "--to=out.mp4"], "the recording ends; its file is being finished"),
    "page": (["--driving=camera:0", "--live", "--to=page:0"], "it ends"),
}


@pytest.fixture
def feed(here: Path) -> Path:
    """Six seconds of a camera."""
    path = here / "feed.mkv"
    with av.open(os.fspath(path), "w", format="matroska") as output:
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for _ in range(150):
            output.mux(stream.encode(av.VideoFrame(64, 64, "yuvj420p")))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the camera is a named pipe")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("kind", FEEDS)
def test_a_signal_keeps_what_was_recorded_though_nothing_more_comes(
    kind: str, number: signal.Signals, here: Path, feed: Path, picture: Path, tiny_bundle: Bundle
) -> None:
    options, line = FEEDS[kind]
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += f"{CAMERA}\nfrom maskanim.runtime.cli import main; main()"
    values = [f"--source={picture}", f"--model={tiny_bundle.path}", "--engine=ort", "--no-provenance", *options]
    os.mkfifo(here / "camera")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *values],
        cwd=here,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    # The first half comes, then nothing, but it stays open.
    first = feed.read_bytes()[: feed.stat().st_size // 2]
    with os.fdopen(os.open(here / "camera", os.O_RDWR), "wb") as camera:
        pipe = process.stdin if kind == "pipe" else camera
        if kind != "live file":  # nobody would read it, and more than a pipe holds would wait for ever
            pipe.write(first)
            pipe.flush()
        wait_until_it_runs(process, here, kind)
        process.send_signal(number)
        begun = time.monotonic()
        code = process.wait(60)
        assert time.monotonic() - begun < 8
    told, errors = process.stdout.read().decode(), process.stderr.read().decode()  # type: ignore[union-attr]
    assert code == 0 and line in errors.splitlines() and "Traceback" not in errors, told + errors
    assert {path.name for path in here.iterdir()} - {"camera", "feed.mkv"} == (set() if kind == "page" else {"out.mp4"})
    assert kind == "page" or timestamps(here / "out.mp4")


def wait_until_it_runs(process: subprocess.Popen[bytes], here: Path, kind: str) -> None:
    """Until it records or is live, and long enough for a few frames more."""
    until, recording = time.monotonic() + 60, kind in ("pipe", "camera")
    assert process.stdout
    while not recording and not process.stdout.readline().startswith(b"live: "):
        assert process.poll() is None and time.monotonic() < until
    while recording and not any(path.stat().st_size for path in here.glob(".*")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1.5)
