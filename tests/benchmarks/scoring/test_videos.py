"""Finished videos: which belong together, and which lack a counterpart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import pytest

from maskanim.benchmarks.judges.perception import Perception
from maskanim.benchmarks.scoring.engine import score_all
from maskanim.benchmarks.scoring.videos import clips_by_name, finished, parse_generated
from maskanim.errors import MaskanimError
from maskanim.ops import Frame

Save = Callable[[Path, Sequence[Frame]], Path]
Spot = Callable[..., Frame]


@pytest.fixture
def folders(tmp_path: Path, spot: Spot, save: Save) -> Path:
    for name in ("a", "b"):
        save(tmp_path / "driving" / f"{name}.mp4", [spot(10 * i) for i in range(5)])
        save(tmp_path / "ours" / f"{name}.mp4", [spot(10 * i + 3) for i in range(5)])
        (tmp_path / "source").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "source" / f"{name}.png"), spot(0, 20))
    return tmp_path


def test_files_of_one_name_belong_together(folders: Path, see_spot: Perception) -> None:
    cases, lacking = finished({"ours": folders / "ours"}, folders / "driving", folders / "source", folders / "driving")
    videos, failures = score_all(cases, see_spot)
    assert [each.video for each in videos] == ["a", "b"] and lacking == failures == {}
    assert all(each.figure("AKD") == 3 and each.figure("CSIM") == pytest.approx(1) for each in videos)
    assert all(each.figure("L1") for each in videos)


def test_missing_counterparts_are_told(folders: Path, see_spot: Perception, spot: Spot, save: Save) -> None:
    save(folders / "ours" / "c.mp4", [spot()])
    save(folders / "driving" / "d.mp4", [spot()])
    (folders / "source" / "b.png").unlink()
    cases, lacking = finished({"ours": folders / "ours"}, folders / "driving", folders / "source")
    assert lacking == {
        "b": "no source video of that name",
        "c": "no driving, no source video of that name",
        "d": "no ours, no source video of that name",
    }
    videos, failures = score_all(cases, see_spot)
    assert [each.video for each in videos] == ["a", "b"] and failures == {}
    assert videos[1].figure("CSIM") is None and videos[1].figure("AKD") == 3


def test_single_files_need_no_common_name(folders: Path, see_spot: Perception) -> None:
    cases, lacking = finished({"ours": folders / "ours" / "a.mp4"}, folders / "driving" / "b.mp4")
    (found,), _ = score_all(cases, see_spot)
    assert found.figure("AKD") == 3 and lacking == {}


def test_a_damaged_file_among_good_ones(folders: Path, see_spot: Perception) -> None:
    (folders / "ours" / "a.mp4").write_bytes(b"no video")
    cases, _ = finished({"ours": folders / "ours"}, folders / "driving")
    videos, failures = score_all(cases, see_spot)
    assert [each.video for each in videos] == ["b"]
    assert "not a video" in failures["a"]


def test_folders_of_pictures_are_clips(folders: Path, spot: Spot) -> None:
    for i in range(3):
        (folders / "frames" / "a").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folders / "frames" / "a" / f"{i}.png"), spot(i))
    assert clips_by_name(folders / "frames") == {"a": folders / "frames" / "a"}


def test_two_clips_of_one_name(folders: Path, spot: Spot) -> None:
    cv2.imwrite(str(folders / "ours" / "a.png"), spot())
    with pytest.raises(MaskanimError, match="one clip of each name"):
        clips_by_name(folders / "ours")


def test_names_of_methods(folders: Path) -> None:
    given = parse_generated([str(folders / "ours"), f"theirs={folders / 'driving'}"])
    assert given == {"ours": folders / "ours", "theirs": folders / "driving"}
    with pytest.raises(MaskanimError, match="no such file"):
        parse_generated(["nowhere"])
    with pytest.raises(MaskanimError, match="a second ours"):
        parse_generated([str(folders / "ours"), f"ours={folders / 'driving'}"])
