"""Pairs of real clips: what is drawn, that it is always the same, and what damage does to it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import maskanim.train.data.clips as clips_module
from maskanim.errors import MaskanimError
from maskanim.ops import Frame, preprocess
from maskanim.train.data import open_data
from maskanim.train.data.clips import ClipPairs, _figure_maps, square
from maskanim.train.data.drawn import SyntheticPairs
from maskanim.train.data.layouts import ClipFile, list_clips
from maskanim.train.data.pairs import Pair, Pairs, batches
from maskanim.train.settings import DataSettings, TrainSettings

Write = Callable[..., Path]
Unexamined = Callable[[Path], ClipPairs]


@pytest.fixture
def folder(tmp_path: Path, write_video: Write, write_folder: Write, write_strip: Write) -> Path:
    """Clips of every kind; of identity `a` two, of the others one."""
    write_video(tmp_path / "clips" / "a#1.mp4")
    write_strip(tmp_path / "clips" / "a#2.png")
    write_folder(tmp_path / "clips" / "b#1")
    write_video(tmp_path / "clips" / "c#1.gif", codec="gif")
    return tmp_path / "clips"


def pairs_of(folder: Path, seed: int = 1, **settings: object) -> ClipPairs:
    return ClipPairs(list_clips(folder, "train"), DataSettings.model_validate(settings), seed)


def stacked(pairs: Pairs, count: int, workers: int = 0, start: int = 0) -> torch.Tensor:
    return torch.cat([torch.cat(pair[:2], 1) for pair in batches(pairs, start, count // 2, 2, workers)])


def test_a_pair_is_two_frames_of_one_clip(
    tmp_path: Path, write_strip: Write, number_of: Callable[[Frame], int]
) -> None:
    """Every frame of every clip comes up, in either order."""
    for first in (0, 20, 40):
        write_strip(tmp_path / f"{first}.png", 10, first)
    pairs = pairs_of(tmp_path)
    seen, orders = set(), set()
    for i in range(120):
        pair = pairs[i]
        for image in pair[:2]:
            assert image.shape == (3, 256, 256) and image.dtype == torch.uint8 and image.is_contiguous()
        assert pair.source_figure.shape == pair.driving_figure.shape == (0, 64, 64)
        source, driving = (number_of(image.permute(1, 2, 0).numpy()) for image in pair[:2])
        assert source // 20 == driving // 20
        seen |= {source, driving}
        orders.add(source < driving)
    assert seen == {first + i for first in (0, 20, 40) for i in range(10)} and len(orders) == 2


def test_real_and_drawn_pairs_collate(folder: Path) -> None:
    real, drawn = (next(batches(pairs, 0, 1, 2, 0)) for pairs in (pairs_of(folder), SyntheticPairs(3, 0)))
    assert isinstance(real, Pair) and real.source.shape == drawn.source.shape == (2, 3, 256, 256)
    assert real.source_figure.shape == (2, 0, 64, 64) and drawn.source_figure.shape == (2, 1, 64, 64)


def test_every_pass_takes_every_clip_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = clips_drawn(pairs_of(folder), 12, monkeypatch)
    passes = [drawn[i : i + 4] for i in (0, 4, 8)]
    assert all(sorted(names) == ["a#1.mp4", "a#2.png", "b#1", "c#1.gif"] for names in passes)
    assert len({tuple(names) for names in passes}) > 1


def test_identity_sampling_takes_one_clip_of_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pairs_of(folder, identity_sampling=True)
    assert pairs.units == 3 and "4 clips" in pairs.summary and "3 identities" in pairs.summary
    drawn = clips_drawn(pairs, 90, monkeypatch)
    for i in range(0, 90, 3):
        assert sorted(name.split("#")[0] for name in drawn[i : i + 3]) == ["a", "b", "c"]
    counts = Counter(drawn)
    assert counts["a#1.mp4"] + counts["a#2.png"] == counts["b#1"] == 30 and counts["a#1.mp4"] > 5 < counts["a#2.png"]


def clips_drawn(pairs: ClipPairs, count: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    drawn = []
    pair = pairs._pair
    monkeypatch.setattr(pairs, "_pair", lambda clip, rng: (drawn.append(clip.name), pair(clip, rng))[1])
    for i in range(count):
        pairs[i]
    return drawn


def test_pairs_do_not_depend_on_who_loads_them_or_when(folder: Path) -> None:
    whole = stacked(pairs_of(folder), 12)
    torch.testing.assert_close(stacked(pairs_of(folder), 12, workers=2), whole, rtol=0, atol=0)
    torch.testing.assert_close(stacked(pairs_of(folder), 4, start=8), whole[8:], rtol=0, atol=0)
    assert not torch.equal(stacked(pairs_of(folder, seed=2), 12), whole)


def test_processes_share_the_joint_batch(folder: Path) -> None:
    pairs = pairs_of(folder)
    joint = [batch.source for batch in batches(pairs, 4, 2, 4, 0)]
    parts = [[batch.source for batch in batches(pairs, 4, 2, 2, 0, rank=rank, world=2)] for rank in (0, 1)]
    for step in (0, 1):
        assert torch.equal(torch.cat([part[step] for part in parts]), joint[step])


def test_mirroring_is_off_unless_asked_for(folder: Path) -> None:
    plain, mirrored = pairs_of(folder), pairs_of(folder, mirror=1)
    assert all(torch.equal(plain[i].driving.flip(2), mirrored[i].driving) for i in range(4))
    some = pairs_of(folder, mirror=0.25)
    share = np.mean([not torch.equal(plain[i].source, some[i].source) for i in range(80)])
    assert 0.1 < share < 0.4  # 0.25 within three standard deviations of 80 draws


@pytest.fixture
def damaged(folder: Path, write_video: Write) -> Path:
    """Three of seven clips are damaged."""
    write_video(folder / "d.mp4", container_options={"movflags": "+faststart"})
    (folder / "d.mp4").write_bytes((folder / "d.mp4").read_bytes()[:-100])
    (folder / "e.jpg").write_text("text")
    (folder / "f").mkdir()
    return folder


@pytest.fixture
def unexamined(monkeypatch: pytest.MonkeyPatch) -> Unexamined:
    """Pairs of a folder of which nobody has opened a clip yet, as of a large one."""

    def make(folder: Path) -> ClipPairs:
        with monkeypatch.context() as patched:
            patched.setattr(clips_module, "describe", lambda *_: "unexamined")
            return pairs_of(folder)

    return make


def test_damaged_clips_are_passed_over_and_named_once(damaged: Path, tmp_path: Path) -> None:
    pairs = pairs_of(damaged)
    assert "7 clips" in pairs.summary and "3 damaged" in pairs.summary
    seen = stacked(pairs, 28)
    assert len(seen) == 28 and set(pairs.damaged) == {"d.mp4", "e.jpg", "f"}
    lines = pairs.news()
    assert len(lines) == 3 and not pairs.news()
    assert any(line.startswith("passed over d.mp4: damaged or cut short: ") for line in lines)
    assert any(line == "passed over e.jpg: not a picture that can be read" for line in lines)


def test_damage_met_by_workers_comes_back_and_changes_nothing(damaged: Path, unexamined: Unexamined) -> None:
    """Whoever loads pair i, and whatever was loaded before: the same substitute."""
    whole = stacked(pairs_of(damaged), 28)
    fresh = unexamined(damaged)
    assert not fresh.damaged
    torch.testing.assert_close(stacked(fresh, 28, workers=2), whole, rtol=0, atol=0)
    assert set(fresh.damaged) == {"d.mp4", "e.jpg", "f"}
    late = unexamined(damaged)
    torch.testing.assert_close(stacked(late, 8, start=20), whole[20:], rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_mostly_damaged_data_is_refused(damaged: Path, workers: int, unexamined: Unexamined) -> None:
    for name in ("a#1.mp4", "c#1.gif"):
        (damaged / name).write_bytes(b"")
    with pytest.raises(MaskanimError, match="of 7 clips are damaged, as "):
        pairs_of(damaged)
    fresh = unexamined(damaged)
    with pytest.raises(MaskanimError, match=r"[45] of 7 clips are damaged, as "):
        stacked(fresh, 40, workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_data_without_a_clip_that_can_be_read_is_refused(tmp_path: Path, workers: int, unexamined: Unexamined) -> None:
    for i in range(100):
        (tmp_path / f"{i}.mp4").touch()
    fresh = unexamined(tmp_path)
    with pytest.raises(MaskanimError, match=r"32 draws, .* \d+.mp4: an empty file"):
        stacked(fresh, 4, workers)


def test_single_frames_are_no_clips(tmp_path: Path, write_strip: Write) -> None:
    write_strip(tmp_path / "a.png", 12)
    write_strip(tmp_path / "b.png", 1)
    pairs = pairs_of(tmp_path)
    stacked(pairs, 4)
    assert pairs.damaged == {"b.png": "a clip of a single frame"}


def test_a_clip_that_vanishes_is_passed_over(folder: Path) -> None:
    pairs = pairs_of(folder)
    shutil.rmtree(folder / "b#1")
    stacked(pairs, 8)
    assert set(pairs.damaged) == {"b#1"}


@pytest.mark.parametrize("shape", [(64, 64), (96, 130), (256, 256), (400, 300), (720, 1280)])
def test_squares_are_the_runtimes(shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    expected = preprocess(frame)[0].transpose(1, 2, 0) * 255
    # One level: OpenCV rounds weights and sums of eight-bit pictures to fixed point.
    assert np.abs(square(frame) - expected).max() <= 1


def test_what_open_data_takes(folder: Path, tmp_path: Path) -> None:
    settings = TrainSettings()
    assert isinstance(open_data("synthetic", settings), SyntheticPairs)
    pairs = open_data(folder, settings)
    assert pairs.summary == "4 clips: 2 videos, 1 folder, 1 strip of 96x96 frames, 64 frames"
    with pytest.raises(MaskanimError, match="no such folder; expected 'synthetic', 'people' or a folder"):
        open_data(tmp_path / "gone", settings)


@pytest.mark.parametrize(
    "needs", [{"warmup": {"steps": 3}}, {"warmup": {"weight": 1.0, "fade_steps": 5}}, {"data": {"across": 0.5}}]
)
def test_what_needs_drawn_data(folder: Path, needs: dict[str, dict[str, float]]) -> None:
    settings = TrainSettings.model_validate(needs)
    with pytest.raises(MaskanimError, match="learn from ground truth") as error:
        open_data(folder, settings)
    assert "\n" not in str(error.value)
    assert open_data(folder, TrainSettings.model_validate({"warmup": {"gain_steps": 5}}))


def test_the_papers_count_is_told_where_it_differs(folder: Path) -> None:
    assert pairs_of(folder, train_clips=18556).summary.endswith("the paper: 18,556 clips")
    assert "paper" not in pairs_of(folder, train_clips=4).summary


def test_many_clips_are_sampled(tmp_path: Path, write_strip: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskanim.train.data.clips.EXAMINED", 2)
    for i in range(5):
        write_strip(tmp_path / f"{i}.png", 10)
    assert pairs_of(tmp_path).summary == "5 clips: strips of 96x96 frames, about 60 frames"


def test_repeats_make_an_epoch(folder: Path) -> None:
    settings = TrainSettings.model_validate({"data": {"repeats": 9}, "batch": 4})
    assert settings.for_units(7).steps_per_epoch == 15
    assert settings.for_units(None) == settings and TrainSettings().for_units(7).steps_per_epoch == 1000


def test_real_data(real_data: Path) -> None:
    actions = open_data(real_data / "actions", TrainSettings())
    assert actions.summary == "57 clips: strips of 64x64 frames, 4,109 frames" and actions.units == 57
    held_out = open_data(real_data / "actions", TrainSettings(), "test")
    faces = open_data(real_data / "faces/driving", TrainSettings())
    for pairs in (actions, held_out, faces):
        batch = next(batches(pairs, 0, 1, 4, 0))
        assert batch.source.float().std() > 10 and not pairs.damaged


def test_truth_that_is_damaged_anywhere_is_told(tmp_path: Path) -> None:
    """Whatever NumPy, zipfile and zlib make of it."""
    clip = ClipFile(tmp_path / "a.jpg", "a.jpg", "strip")
    figures = np.random.default_rng(0).integers(0, 16, (2, 64, 64)).astype(np.uint8)
    np.savez_compressed(clip.truth, figure_map=figures)
    whole, told = clip.truth.read_bytes(), 0
    for at in range(0, len(whole), 37):
        clip.truth.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        try:
            assert _figure_maps(clip, [0, 1]).shape == (2, 64, 64)
        except MaskanimError:
            told += 1
    assert told > len(whole) / 37 / 2
