"""The files of rendered people: their layout, carrying on, refusals, and training data from them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.progress import NoProgress
from maskanim.train.data import open_data
from maskanim.train.data.drawn import PeoplePairs
from maskanim.train.people.clip import Studio
from maskanim.train.people.dataset import ABOUT, FIRST_DRIVER, Order, draw_clip, truth_of, write_people
from maskanim.train.settings import DataSettings, TrainSettings, Warmup

ORDER = Order((3, 1), 2)
WITH_FIGURES = TrainSettings(warmup=Warmup(steps=1), perceptual="none", lambda_pixel=10)


@pytest.fixture(scope="module")
def out(assets: Path, studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people") / "out"
    assert write_people(assets, folder, ORDER, 1, NoProgress()) == 4
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_strips_lie_beside_their_truth(out: Path) -> None:
    clips = [*(f"train/{i:05d}" for i in range(3)), "test/00000"]
    assert set(contents(out)) == {"people.json", *(clip + suffix for clip in clips for suffix in (".jpg", ".npz"))}
    assert json.loads((out / "people.json").read_text())["frames"] == 2
    assert cv2.imread(str(out / "train/00000.jpg")).shape == (256, 512, 3)
    with np.load(out / "train/00000.npz") as truth:
        assert {key: truth[key].shape for key in truth if key != "driver"} == {
            "figure_map": (2, 64, 64), "foreground": (2, 256, 256), "landmarks": (2, 68, 2), "angles": (2, 3),
            "mouth": (2,), "lids": (2, 2),
        }  # fmt: skip
        assert cv2.imdecode(truth["driver"], cv2.IMREAD_COLOR).shape == (256, 512, 3)


def test_the_truth_is_that_of_the_frames_and_the_driver_another_person(out: Path, studio: Studio) -> None:
    frames, other = draw_clip(studio, ORDER, "train", 1), draw_clip(studio, ORDER, "train", FIRST_DRIVER + 1, motion=1)
    with np.load(out / "train/00001.npz") as truth:
        for key, values in truth_of(frames).items():
            np.testing.assert_array_equal(truth[key], values)
        driver = cv2.imdecode(truth["driver"], cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(driver.astype(int) - np.concatenate([frame.image for frame in other], 1)).mean() < 4
    for a, b in zip(frames, other, strict=True):
        np.testing.assert_allclose(a.angles, b.angles, atol=1e-9)


def test_called_again_it_draws_what_is_missing_and_the_same_bytes(assets: Path, out: Path) -> None:
    before = contents(out)
    assert write_people(assets, out, Order((1, 1), 2), 1, NoProgress()) == 0
    (out / "train/00002.jpg").unlink()
    assert write_people(assets, out, ORDER, 1, NoProgress()) == 1
    assert contents(out) == before


def test_a_clip_is_the_same_however_many_others_are_drawn(assets: Path, out: Path, tmp_path: Path) -> None:
    before = dict(os.environ)
    write_people(assets, tmp_path / "one", Order((1, 0), 2), 1, NoProgress())
    alone = contents(tmp_path / "one")
    assert alone.items() - {("people.json", alone["people.json"])} <= contents(out).items()
    assert dict(os.environ) == before


def test_other_people_and_other_files_are_refused(assets: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskanimError, match="people of another frames, seed; expected a new folder"):
        write_people(assets, out, Order((3, 1), 3, seed=1), 1, NoProgress())
    about = json.loads((out / ABOUT).read_text())
    older = tmp_path / "older"
    older.mkdir()
    (older / ABOUT).write_text(json.dumps({key: value for key, value in about.items() if key != "population"}))
    with pytest.raises(MaskanimError, match="people of another population"):
        write_people(assets, older, ORDER, 1, NoProgress())
    shutil.rmtree(older)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MaskanimError, match="a folder with other files"):
        write_people(assets, tmp_path, ORDER, 1, NoProgress())
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_without_opengl_it_says_what_to_install(assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moderngl.py").write_text("def create_context(**_):\n    raise ValueError('no EGL')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MaskanimError, match=r"no OpenGL through EGL \(no EGL\).*apt-get install libegl1"):
        write_people(assets, tmp_path / "out", ORDER, 2, NoProgress())


def test_training_reads_them_with_figure_maps_and_drivers(out: Path) -> None:
    across = WITH_FIGURES.model_copy(update={"data": DataSettings(across=1, mirror=0)})
    pairs = open_data(out, across)
    assert pairs.has_figures
    maps = [np.load(path)["figure_map"] for path in sorted((out / "train").glob("*.npz"))]
    for index in range(4):
        pair = pairs[index]
        for figure in (pair.source_figure, pair.driving_figure):
            found = np.round(255 * figure[0].numpy())
            assert any(np.array_equal(found, each) for clip in maps for each in clip)
        assert pair.driver.shape == (3, 256, 256)
        assert (pair.driver.int() - pair.driving.int()).abs().float().mean() > 5  # another person in another place
    plain = open_data(out, WITH_FIGURES)[0]
    assert plain.driver.shape[0] == 0


def test_a_clip_with_damaged_truth_is_passed_over_and_named(out: Path, tmp_path: Path) -> None:
    for name, data in contents(out).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data[:100] if name == "train/00001.npz" else data)
    pairs = open_data(tmp_path, WITH_FIGURES)
    damaged: dict[str, str] = {}
    for i in range(6):
        pairs.load(i, damaged)
    assert list(damaged) == ["train/00001.jpg"] or list(damaged) == ["00001.jpg"]
    assert "damaged" in next(iter(damaged.values()))


@pytest.mark.parametrize("across", [0.0, 1.0])
def test_people_drawn_as_training_goes_are_their_numbers(assets: Path, studio: Studio, across: float) -> None:
    settings = DataSettings(across=across, worsen=0.5)
    a, b = (PeoplePairs(assets, 5, settings, 3) for _ in range(2))
    b.load(9, {})  # another group between them
    for index in (2, 3):
        one, same = a[index], b[index]
        assert all(np.array_equal(x, y) for x, y in zip(one, same, strict=True))
        assert one.driver.shape[0] == (3 if across else 0)
        assert one.source.shape == (3, 256, 256) and one.source_figure.shape == (1, 64, 64)
    assert not np.array_equal(a.reseeded(4)[2].source, a[2].source)
