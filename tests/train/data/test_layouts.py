"""What is recognised as a clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from maskanim.errors import MaskanimError
from maskanim.train.data.layouts import has_splits, list_clips

Write = Callable[..., Path]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, split: str | None = None) -> dict[str, str]:
    return {clip.name: clip.kind for clip in list_clips(folder, split).clips}  # type: ignore[arg-type]


def test_kinds_may_be_mixed(tmp_path: Path) -> None:
    touch(tmp_path, "a10.MP4", "a2.gif", "s.jpg", "f/1.png", "f/2.png", "ids/id1/v/x.mov", "ids/id1/v/y.mov")
    touch(tmp_path, "notes.txt", "f/list.csv", ".hidden.mp4", ".cache/x.mp4")
    (tmp_path / "nothing").mkdir()
    assert found(tmp_path) == {
        "a2.gif": "video",
        "a10.MP4": "video",
        "f": "frames",
        "ids/id1/v/x.mov": "video",
        "ids/id1/v/y.mov": "video",
        "nothing": "frames",
        "s.jpg": "strip",
    }
    assert list_clips(tmp_path).others == 2


def test_a_folder_called_like_a_video_is_a_folder_of_frames(tmp_path: Path) -> None:
    touch(tmp_path, "train/id1#v#0#9.mp4/0.png", "train/id1#v#0#9.mp4/1.png")
    assert found(tmp_path, "train") == {"id1#v#0#9.mp4": "frames"}


def test_splits(tmp_path: Path) -> None:
    touch(tmp_path / "without", "a.mp4")
    touch(tmp_path / "with", "train/a.mp4", "test/b.mp4", "extra.mp4")
    touch(tmp_path / "test only", "test/b.mp4")
    assert not has_splits(tmp_path / "without") and has_splits(tmp_path / "with")
    assert list(found(tmp_path / "without", "train")) == list(found(tmp_path / "with", "train")) == ["a.mp4"]
    assert list(found(tmp_path / "with", "test")) == ["b.mp4"]
    assert list(found(tmp_path / "with")) == ["extra.mp4", "test/b.mp4", "train/a.mp4"]
    for folder, split in (("without", "test"), ("test only", "train")):
        with pytest.raises(MaskanimError, match=f"no {split}/ in it.*prepare"):
            found(tmp_path / folder, split)


def test_identities_come_first_in_names(tmp_path: Path) -> None:
    touch(tmp_path, "id1#v#0#9.mp4", "id1#w#0#9.mp4", "id2#v#0#9.mp4", "id3/v/0.mp4", "id3/w/0.mp4", "alone.mp4")
    clips = list_clips(tmp_path)
    names = {who: [clips.clips[i].name for i in numbers] for who, numbers in clips.identities().items()}
    assert names == {
        "alone.mp4": ["alone.mp4"],
        "id1": ["id1#v#0#9.mp4", "id1#w#0#9.mp4"],
        "id2": ["id2#v#0#9.mp4"],
        "id3": ["id3/v/0.mp4", "id3/w/0.mp4"],
    }


def test_the_fingerprint_is_of_the_names(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        touch(tmp_path / folder, "x.mp4", "y.mp4")
    touch(tmp_path / "c", "z.mp4")
    a, b, c = (list_clips(tmp_path / folder).fingerprint for folder in ("a", "b", "c"))
    assert a == b != c


def test_folders_without_clips_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes/readme.txt")
    for folder, told in (("notes", "no clip in it"), ("gone", "no such folder"), ("notes/readme.txt", "a file")):
        with pytest.raises(MaskanimError, match=told):
            list_clips(tmp_path / folder)
