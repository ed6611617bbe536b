"""Pair lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskanim.errors import MaskanimError
from maskanim.train.data.layouts import ClipList, list_clips
from maskanim.train.data.pair_list import read_pair_list


@pytest.fixture
def clips(tmp_path: Path) -> ClipList:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / "data/test").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data/test" / name).touch()
    return list_clips(tmp_path / "data", "test")


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "pairs.csv"
    path.write_text(text, encoding)
    return path


def test_pairs_in_the_order_of_the_file(tmp_path: Path, clips: ClipList) -> None:
    path = write(tmp_path, "distance,source,driving,frame\n1,b.mp4,a.mp4,0\n2, a.mp4 ,c.mp4,3\n", "utf-8-sig")
    found = read_pair_list(path, clips)
    assert [(pair.source.name, pair.driving.name) for pair in found.pairs] == [("b.mp4", "a.mp4"), ("a.mp4", "c.mp4")]
    assert found.pairs[0].source.path == clips.folder / "b.mp4" and not found.missing


def test_rows_that_name_nothing_are_told(tmp_path: Path, clips: ClipList) -> None:
    found = read_pair_list(write(tmp_path, "source,driving\nx.mp4,a.mp4\nb.mp4,c.mp4\nb.mp4\n"), clips)
    assert len(found.pairs) == 1
    assert [line.split(" in ")[0] for line in found.missing] == [
        "pairs.csv, line 2: there is no clip 'x.mp4'",
        "pairs.csv, line 4: there is no clip ''",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("source,driver\na.mp4,b.mp4\n", "the columns source, driver; expected the columns source and driving"),
        ("", r"the columns \(none\)"),
        ("source,driving\n", "no rows"),
        ("source,driving\nx.mp4,a.mp4\n", "line 2: there is no clip 'x.mp4'"),
        ("source,driving\n\xff\n", "not a CSV file in UTF-8"),
    ],
)
def test_mistakes(tmp_path: Path, clips: ClipList, text: str, told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        read_pair_list(write(tmp_path, text, "latin-1"), clips)


def test_a_list_that_is_not_there(tmp_path: Path, clips: ClipList) -> None:
    with pytest.raises(MaskanimError, match="no such file"):
        read_pair_list(tmp_path / "pairs.csv", clips)
