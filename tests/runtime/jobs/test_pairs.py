"""Which pairs a command means, and what their results are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskanim.errors import MaskanimError
from maskanim.runtime.jobs import Extras, Pair, Places, cross, read_pairs, several, single


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with sources and drivers of all kinds."""
    for name in ("faces/b2.png", "faces/b10.jpg", "faces/notes.txt", "clips/a.mp4", "clips/m.mmot", "clips/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("clips/frames/0.png", "frames/0.png", "frames/1.png", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.source.as_posix(), Path(pair.driving).as_posix()) for pair in pairs]


@pytest.mark.parametrize(
    ("sources", "drivings", "expected"),
    [
        (["a.png"], ["b.mp4"], [("a.png", "b.mp4")]),
        (["faces"], ["b.mp4"], [("faces/b2.png", "b.mp4"), ("faces/b10.jpg", "b.mp4")]),
        (["faces/*.jpg"], ["b.mp4"], [("faces/b10.jpg", "b.mp4")]),
        (["a.png"], ["frames"], [("a.png", "frames")]),
        (["a.png"], ["clips"], [("a.png", "clips/a.mp4"), ("a.png", "clips/frames"), ("a.png", "clips/m.mmot")]),
        (["a.png"], ["camera:0", "-"], [("a.png", "camera:0"), ("a.png", "-")]),
        (["a.png", "c.png"], ["b.mp4", "d.mp4"], [(s, d) for s in ("a.png", "c.png") for d in ("b.mp4", "d.mp4")]),
    ],
)
def test_every_source_with_every_driver(
    here: Path, sources: list[str], drivings: list[str], expected: list[tuple[str, str]]
) -> None:
    assert named(cross(sources, drivings)) == expected


def test_a_name_with_brackets_is_a_file_where_there_is_one(here: Path) -> None:
    (here / "clip[1].mp4").touch()
    assert named(cross(["a.png"], ["clip[1].mp4"])) == [("a.png", "clip[1].mp4")]


@pytest.mark.parametrize(
    ("sources", "drivings", "told"),
    [
        (["empty"], ["b.mp4"], "a folder without pictures"),
        (["a.png"], ["empty"], "a folder without clips"),
        (["no*.png"], ["b.mp4"], "a pattern that no file matches"),
    ],
)
def test_nothing_of_the_kind(here: Path, sources: list[str], drivings: list[str], told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        cross(sources, drivings)


def test_a_list_of_pairs(here: Path) -> None:
    (here / "lists").mkdir()
    path = here / "lists" / "pairs.csv"
    path.write_text("driving,source,distance,output\n../b.mp4,../a.png,3,\n-,/c.png,4,mine.mp4\n", "utf-8")
    first, second = read_pairs(path)
    assert (first.source.resolve(), Path(first.driving).resolve(), first.output) == (here / "a.png", here / "b.mp4", "")
    assert second == Pair(Path("/c.png"), "-", "mine.mp4")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"source,driver\na,b\n", "the columns source, driver"),
        (b"source,driving\n", "no rows"),
        (b"source,driving\na,\n", "line 2: an empty cell"),
        (b"source,driving,output\na,b,../c.mp4\n", "a file name without a folder"),
        (b"source,driving\n\xff\xfe,b\n", "not a CSV file in UTF-8"),
        (None, "there is no such file"),
    ],
)
def test_lists_that_are_refused(here: Path, text: bytes | None, told: str) -> None:
    path = here / "pairs.csv"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(MaskanimError, match=told):
        read_pairs(path)


@pytest.mark.parametrize(
    ("driving", "output", "expected"),
    [
        ("clips/b.c.mp4", None, "a-b.c.mp4"),
        ("camera:0", None, "a-camera-0.mp4"),
        ("-", None, "a-stdin.mp4"),
        ("b.mp4", "x.mov", "x.mov"),
        ("b.mp4", "empty", "empty/a-b.mp4"),
    ],
)
def test_the_name_of_one(here: Path, driving: str, output: str | None, expected: str) -> None:
    job = single(Pair(Path("a.png"), driving), Places(Path(output) if output else None))
    assert job.output.as_posix() == expected


def test_names_of_several_are_their_own(here: Path) -> None:
    pairs = [
        Pair(Path("a.png"), "b.mp4"),
        Pair(Path("a.jpg"), "b.mp4"),
        Pair(Path("c.png"), "b.mp4", "a-b-2.mp4"),
        Pair(Path("x/a.png"), "b.mp4"),
    ]
    places = Places(Path("out"), extras=Extras(motion=Path("moves"), masks=Path("masks"), preview=Path("sheets")))
    jobs = several(pairs, places)
    assert [job.output.name for job in jobs] == ["a-b.mp4", "a-b-3.mp4", "a-b-2.mp4", "a-b-4.mp4"]
    assert jobs[1].extras == Extras(Path("moves/a-b-3.mmot"), Path("masks/a-b-3"), Path("sheets/a-b-3.png"))


@pytest.mark.parametrize(
    ("places", "told"),
    [
        (Places(Path("out.mp4")), "the name of a file"),
        (Places(Path("out.mmot")), "the name of a file"),
        (Places(Path("clips/a.mp4")), "the name of a file"),
        (Places(Path("out"), extras=Extras(preview=Path("sheet.png"))), "the name of a file"),
    ],
)
def test_several_need_folders(here: Path, places: Places, told: str) -> None:
    with pytest.raises(MaskanimError, match=told):
        several([Pair(Path("a.png"), "b.mp4")] * 2, places)


def test_one_output_for_two(here: Path) -> None:
    with pytest.raises(MaskanimError, match=r"the output x\.mp4 twice"):
        several([Pair(Path("a.png"), "b.mp4", "x.mp4")] * 2, Places(Path("out")))


def test_results_that_would_share_their_extras(here: Path) -> None:
    """They go by the name without its ending."""
    pairs = [Pair(Path("a.png"), "b.mp4", "a-b.mov"), Pair(Path("a.png"), "b.mp4")]
    assert [job.output.name for job in several(pairs, Places())] == ["a-b.mov", "a-b.mp4"]
    jobs = several(pairs, Places(extras=Extras(masks=Path("masks"))))
    assert [job.extras.masks for job in jobs] == [Path("masks/a-b"), Path("masks/a-b-2")]
    with pytest.raises(MaskanimError, match="the output x twice"):
        named = [Pair(Path("a.png"), "b.mp4", name) for name in ("x.mp4", "x.mov")]
        several(named, Places(extras=Extras(preview=Path("sheets"))))


def test_a_folder_may_have_a_dot_in_its_name(here: Path) -> None:
    jobs = several([Pair(Path("a.png"), "b.mp4")] * 2, Places(Path("results.v2")))
    assert jobs[1].output == Path("results.v2/a-b-2.mp4")


def test_a_link_is_called_as_it_is_and_not_as_its_target(here: Path) -> None:
    (here / "my cat.png").symlink_to(here / "faces" / "b2.png")
    (here / "my clip.mp4").symlink_to(here / "clips" / "a.mp4")
    pair = Pair(Path("my cat.png"), "my clip.mp4")
    assert single(pair, Places()).output.name == "my cat-my clip.mp4"
    assert single(Pair(Path("a.png"), "."), Places()).output.name == f"a-{here.name}.mp4"


@pytest.mark.parametrize("letter", ["x", "é"])
def test_names_that_are_made_are_never_too_long(letter: str, here: Path) -> None:
    stem = letter * (250 // len(letter.encode()))
    jobs = several([Pair(Path(f"{stem}.png"), f"{stem}.mp4")] * 2, Places(Path("out")))
    assert all(len(job.output.name.encode()) <= 240 for job in jobs) and jobs[0].output != jobs[1].output


@pytest.mark.parametrize("driving", ["-", "pipe"])
def test_a_pipe_drives_one_video(here: Path, driving: str) -> None:
    """The second would find it empty."""
    if driving == "pipe":
        os.mkfifo(driving)
    assert len(several([Pair(Path("a.png"), name) for name in (driving, "b.mp4", "n" * 300)], Places(here))) == 3
    with pytest.raises(MaskanimError, match=f"^--driving {driving}: a pipe for 2 videos; expected one: "):
        several(cross(["a.png", "c.png"], [driving]), Places(here))


@pytest.mark.parametrize("row", ["https://here.org/a.png,b.mp4", "a.png,https://here.org/a.png"])
def test_an_address_in_a_list_is_refused_as_it_stands_there(here: Path, row: str) -> None:
    (here / "pairs.csv").write_text(f"source,driving\n{row}\n", "utf-8")
    with pytest.raises(MaskanimError, match=r"pairs\.csv, line 2, https://here\.org/a\.png: an address on the network"):
        read_pairs(here / "pairs.csv")
