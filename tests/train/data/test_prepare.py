"""maskanim-train prepare: what it makes of raw clips, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import maskanim.train.prepare as prepare_module
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.train.cli import app
from maskanim.train.data import open_data
from maskanim.train.data.layouts import list_clips
from maskanim.train.data.video import index_video
from maskanim.train.prepare import Crop, Preparation, Prepared, prepare
from maskanim.train.settings import TrainSettings
from maskanim.video import open_clip, write_picture

Write = Callable[..., Path]


@pytest.fixture
def raw(tmp_path: Path, write_video: Write, write_folder: Write, write_strip: Write) -> Path:
    """Ten clips of five identities, of all kinds, one of them in a sub-folder."""
    for i in range(5):
        write_video(tmp_path / f"raw/id{i}#a#0#9.mp4", range(4))
    write_strip(tmp_path / "raw/id0#b#0#9.png", 3)
    write_strip(tmp_path / "raw/id1#b#0#9.png", 3)
    write_folder(tmp_path / "raw/id2#b#0#9", 3)
    write_folder(tmp_path / "raw/id3#b#0#9.mp4", 3)
    write_video(tmp_path / "raw/id4/b/0.mp4", range(4))
    return tmp_path / "raw"


def make(raw: Path, out: Path, workers: int = 1, **options: Any) -> Prepared:
    return prepare(raw, out, Preparation(**options), workers=workers)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_splits_by_identity(raw: Path, tmp_path: Path) -> None:
    done = make(raw, tmp_path / "out", test=0.4)
    splits = {split: names(tmp_path / "out" / split) for split in ("train", "test")}
    assert {split: len(found) for split, found in splits.items()} == dict(done.clips) == {"train": 6, "test": 4}
    identities = {split: {name.split("#")[0] for name in found} for split, found in splits.items()}
    assert not identities["train"] & identities["test"] and len(identities["test"]) == 2
    assert {name for found in splits.values() for name in found} == {
        *(f"id{i}#a#0#9.mp4" for i in range(5)),
        *(f"id{i}#b#0#9.mp4" for i in range(4)),
        "id4#b#0.mp4",
    }
    assert names(tmp_path / "out") == ["prepare.json", "test", "train"]
    pairs = open_data(tmp_path / "out", TrainSettings())
    assert pairs.summary.startswith("6 clips: videos of 256x256 frames") and not pairs.damaged


def test_the_split_is_the_seeds(raw: Path, tmp_path: Path) -> None:
    tests = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1), ("d", 2)):
        make(raw, tmp_path / out, test=0.2, seed=seed, size=64)
        tests.append(names(tmp_path / out / "test"))
    assert tests[0] == tests[1] and len({tuple(found) for found in tests}) > 1
    assert all(len(found) == 2 for found in tests)


def test_a_split_of_its_own_is_kept(tmp_path: Path, write_video: Write) -> None:
    for name in ("train/a", "train/b", "test/c"):
        write_video(tmp_path / "raw" / f"{name}.mp4", range(3))
    make(tmp_path / "raw", tmp_path / "out")
    assert (names(tmp_path / "out/train"), names(tmp_path / "out/test")) == (["a.mp4", "b.mp4"], ["c.mp4"])
    with pytest.raises(MaskanimError, match="its own train/ or test/"):
        make(tmp_path / "raw", tmp_path / "other", test=0.5)


def test_no_test_share_and_a_single_identity_leave_nothing_for_test(tmp_path: Path, write_video: Write) -> None:
    write_video(tmp_path / "raw/a.mp4", range(3))
    assert dict(make(tmp_path / "raw", tmp_path / "one").clips) == {"train": 1}
    write_video(tmp_path / "raw/b.mp4", range(3))
    assert dict(make(tmp_path / "raw", tmp_path / "none", test=0).clips) == {"train": 2}
    assert dict(make(tmp_path / "raw", tmp_path / "least").clips) == {"train": 1, "test": 1}


def test_clips_that_differ_in_their_endings_alone(tmp_path: Path, write_video: Write, write_strip: Write) -> None:
    write_video(tmp_path / "raw/a.mp4", range(3))
    write_strip(tmp_path / "raw/a.png", 3)
    make(tmp_path / "raw", tmp_path / "out", test=0)
    assert names(tmp_path / "out/train") == ["a.mp4.mp4", "a.png.mp4"]


def test_clips_that_would_get_one_name(tmp_path: Path, write_video: Write) -> None:
    for name in ("id/a", "id#a"):
        write_video(tmp_path / f"raw/{name}.mp4", range(3))
    with pytest.raises(MaskanimError, match=r"id#a.mp4 and id/a.mp4, of which both would get one name"):
        make(tmp_path / "raw", tmp_path / "out", test=0)
    assert not (tmp_path / "out").exists()


def coloured(folder: Path) -> Path:
    """A clip of three frames, 200x100: red left of x=120, blue right of it."""
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :120, 0], image[:, 120:, 2] = 255, 255
    for i in range(3):
        (folder / "raw/a").mkdir(parents=True, exist_ok=True)
        write_picture(folder / f"raw/a/{i}.png", image)
    return folder / "raw"


@pytest.mark.parametrize(
    ("crop", "size", "red"), [("centre", 100, 0.7), ("20,0,100,100", 64, 1.0), ("60,10,120,80", 128, 0.5)]
)
def test_crop_and_size(tmp_path: Path, crop: str, size: int, red: float) -> None:
    """Of the crop the centred square: 50..150, 20..120, and 80..160 of which 40 columns are red."""
    make(coloured(tmp_path), tmp_path / "out", crop=Crop.parse(crop), size=size, format="frames")
    with open_clip(tmp_path / "out/train/a") as clip:
        images = [image for image, _ in clip]
    assert len(images) == 3 and images[0].shape == (size, size, 3)
    assert abs((images[0][..., 0] > 127).mean() - red) < 1 / size


def test_a_crop_beyond_the_frame_is_told(tmp_path: Path) -> None:
    with pytest.raises(MaskanimError, match=r"no clip .* a: .*frames of 200x100, smaller than the crop"):
        make(coloured(tmp_path), tmp_path / "out", crop=Crop(120, 0, 100, 100))


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "-1,0,99,99", "0,0,10,99", "middle"])
def test_crops_that_are_none(text: str) -> None:
    with pytest.raises(MaskanimError, match="--crop"):
        Crop.parse(text)


def test_times_are_kept_and_key_frames_are_near(tmp_path: Path, write_video: Write) -> None:
    times = [0, 400, 900, 1001, *range(1800, 18000, 300)]
    write_video(tmp_path / "raw/a.mp4", times, Fraction(1, 12000))
    make(tmp_path / "raw", tmp_path / "out", test=0, size=64)
    with open_clip(tmp_path / "out/train/a.mp4") as clip:
        assert [pts * clip.time_base for _, pts in clip] == [Fraction(time, 12000) for time in times]
    index = index_video(tmp_path / "out/train/a.mp4")
    assert index.times is not None
    places = [list(index.times).index(key) for key in index.keys]
    assert places[0] == 0 and max(np.diff([*places, len(times)])) <= prepare_module.KEYFRAME_EVERY


def test_frames_per_second(tmp_path: Path, write_video: Write, number_of: Callable[[Frame], int]) -> None:
    """Frames at 0, 40, 80, 280 and 320 ms, asked for every 50 ms: what is shown at that time."""
    write_video(tmp_path / "raw/a.mp4", [0, 1, 2, 7, 8], Fraction(1, 25), options={"crf": "1"})
    for fps, expected in ((Fraction(20), [0, 1, 2, 2, 2, 2, 3, 4]), (Fraction(5), [0, 2])):
        for form, name in (("frames", "a"), ("mp4", "a.mp4")):
            out = tmp_path / f"{form} {fps}"
            make(tmp_path / "raw", out, test=0, fps=fps, size=96, format=form)
            with open_clip(out / "train" / name, fps) as clip:
                shown = [(number_of(image), pts * clip.time_base) for image, pts in clip]
            assert [time for _, time in shown] == [i / fps for i in range(len(expected))]
            if form == "frames":  # nothing is lost there
                assert [number for number, _ in shown] == expected


def test_damaged_clips_are_left_out_and_told(raw: Path, tmp_path: Path) -> None:
    (raw / "id0#a#0#9.mp4").write_bytes(b"")
    (raw / "id1#b#0#9.png").write_text("text")
    (raw / "id2#b#0#9" / "1.png").write_text("text")
    done = make(raw, tmp_path / "out", size=64)
    assert sum(done.clips.values()) == 7 == sum(len(names(tmp_path / "out" / split)) for split in ("train", "test"))
    assert done.damaged == {
        "id0#a#0#9.mp4": "an empty file (0 bytes)",
        "id1#b#0#9.png": "not a picture that can be read",
        "id2#b#0#9": "1.png: not a picture that can be read",
    }


def test_going_on_makes_only_what_is_missing(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = make(raw, out, size=64)
    clips = sorted((out / "train").iterdir())
    before = {path: path.stat().st_mtime_ns for path in clips[1:]}
    content = clips[0].read_bytes()
    clips[0].unlink()
    (out / ".unfinished").mkdir()
    (out / ".unfinished" / "half.mp4").write_bytes(b"half")
    again = make(raw, out, size=64)
    assert (first.finished_before, again.finished_before) == (0, 9) and first.clips == again.clips
    assert {path: path.stat().st_mtime_ns for path in clips[1:]} == before
    assert clips[0].read_bytes() == content and not (out / ".unfinished").exists()


@pytest.mark.parametrize("form", ["mp4", "frames"])
def test_an_interruption_leaves_whole_clips_only(
    raw: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the middle of the fifth clip: four are there, each complete; the next call makes the rest."""
    cut, frames = prepare_module._cut, 0

    def interrupted(image: Frame, preparation: Preparation) -> Frame:
        nonlocal frames
        frames += 1
        if frames == 4 * 3 + 4:
            raise KeyboardInterrupt
        return cut(image, preparation)

    monkeypatch.setattr(prepare_module, "_cut", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(raw, tmp_path / "out", size=64, format=form)
    made = [clip for split in ("train", "test") for clip in _listed(tmp_path / "out" / split)]
    assert 3 <= len(made) <= 5
    for clip in made:
        with open_clip(clip) as opened:
            assert len(list(opened)) >= 3
    monkeypatch.setattr(prepare_module, "_cut", cut)
    assert sum(make(raw, tmp_path / "out", size=64, format=form).clips.values()) == 10


def _listed(folder: Path) -> list[Path]:
    return [clip.path for clip in list_clips(folder).clips] if folder.is_dir() and any(folder.iterdir()) else []


def test_several_processes_make_the_same(raw: Path, tmp_path: Path) -> None:
    (raw / "id0#a#0#9.mp4").write_bytes(b"")
    one, two = make(raw, tmp_path / "one", size=64), make(raw, tmp_path / "two", workers=2, size=64)
    assert one == two
    for split in ("train", "test"):
        for path in (tmp_path / "one" / split).iterdir():
            assert path.read_bytes() == (tmp_path / "two" / split / path.name).read_bytes()


def test_what_cannot_be_written_stops_the_work(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is no fault of the clips."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(prepare_module, "_record", lambda raw, out, jobs: out.mkdir())
    with pytest.raises(MaskanimError, match="No space left"):
        make(raw, tmp_path / "out")
    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MaskanimError, match=r"other/\.unfinished/.*No space left"):
        make(raw, Path("other"), format="frames")


def test_other_options_are_not_mixed_in(raw: Path, tmp_path: Path, write_video: Write) -> None:
    make(raw, tmp_path / "out", size=64)
    with pytest.raises(MaskanimError, match="made with other options or from other clips"):
        make(raw, tmp_path / "out", size=128)
    write_video(raw / "new.mp4", range(3))
    with pytest.raises(MaskanimError, match="made with other options or from other clips"):
        make(raw, tmp_path / "out", size=64)


def test_foreign_and_inner_folders_are_refused(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/notes.txt").touch()
    (tmp_path / "file").touch()
    told = {"foreign": "something else", "file": "something else", "raw/out": "a folder inside"}
    for out, received in told.items():
        with pytest.raises(MaskanimError, match=received):
            make(raw, tmp_path / out)
    assert names(tmp_path / "foreign") == ["notes.txt"]


def call(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return result.exit_code, result.stdout + result.stderr


def test_the_command(raw: Path, tmp_path: Path) -> None:
    (raw / "id0#a#0#9.mp4").write_bytes(b"")
    arguments = ("prepare", raw, tmp_path / "out", "--size", 64, "--crop", "10,10,80,80", "--test", 0.4, "--fps", 12.5)
    code, told = call(*arguments, "--format", "frames", "--seed", 3)
    assert code == 0 and "left out id0#a#0#9.mp4: an empty file" in told and "damaged and left out: 1" in told
    assert len(names(tmp_path / "out/test")) + len(names(tmp_path / "out/train")) == 9
    code, told = call(*arguments, "--format", "frames", "--seed", 3)
    assert code == 0 and "there before: 9" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--format", "gif"), "--format gif: not a format; expected mp4 or frames"),
        (("--size", "65"), "--size 65: an odd number"),
        (("--crop", "1,2"), "--crop 1,2: not four whole numbers"),
    ],
)
def test_mistakes_are_one_line(raw: Path, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    code, output = call("prepare", raw, tmp_path / "out", *options)
    assert code == 2 and told in output and len(output.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("rate", ["inf", "nan", "1e9"])
def test_a_rate_that_is_none(rate: str, raw: Path, tmp_path: Path) -> None:
    assert call("prepare", raw, tmp_path / "out", "--fps", rate)[0] == 2 and not (tmp_path / "out").exists()
