"""Masks as pictures: to a 65535th, one file a frame, all or none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.views import MaskFolder, check_mask_folder
from maskanim.views.masks import DEPTH, FOLDERS, Masks


@pytest.fixture
def masks() -> Masks:
    return Masks(*np.random.default_rng(0).random((3, 1, 1, 64, 64), np.float32))


def test_they_come_back_to_half_a_step(tmp_path: Path, masks: Masks) -> None:
    with MaskFolder(tmp_path / "masks") as folder:
        for i in range(3):
            folder.write(Masks(*(mask / (i + 1) for mask in masks)))
    for name, mask in zip(FOLDERS, masks, strict=True):
        files = sorted((tmp_path / "masks" / name).iterdir())
        assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
        for i, file in enumerate(files):
            found = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            assert found.dtype == np.uint16 and found.shape == (64, 64)
            np.testing.assert_allclose(found / DEPTH, mask[0, 0] / (i + 1), rtol=0, atol=0.51 / DEPTH)
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


def test_a_mask_that_nobody_knows_has_no_folder(tmp_path: Path, masks: Masks) -> None:
    with MaskFolder(tmp_path / "masks") as folder:
        folder.write(masks._replace(driving=None))
    assert {path.name for path in (tmp_path / "masks").iterdir()} == {"perturbed", "refined"}


def test_an_older_folder_is_replaced_whole(tmp_path: Path, masks: Masks) -> None:
    for count in (3, 1):
        with MaskFolder(tmp_path / "masks") as folder:
            for _ in range(count):
                folder.write(masks)
    assert len(list((tmp_path / "masks" / "refined").iterdir())) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, masks: Masks, error: type[BaseException]) -> None:
    with MaskFolder(tmp_path / "masks") as folder:
        folder.write(masks)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    with pytest.raises(error), MaskFolder(tmp_path / "masks") as folder:
        folder.write(masks)
        folder.write(masks)
        raise error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    for name, told in (
        ("mine", "a folder with other things in it; expected a new or empty one"),
        ("file", "a file; expected a folder for the masks"),
        ("none/masks", "expected an existing folder"),
    ):
        with pytest.raises(MaskanimError, match=told):
            check_mask_folder(tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_disk_that_refuses_is_one_line(tmp_path: Path, masks: Masks, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with (
        pytest.raises(MaskanimError, match=r"masks: writing it failed \(No space left on device\)"),
        MaskFolder(tmp_path / "masks") as folder,
    ):
        folder.write(masks)
    assert not list(tmp_path.iterdir())
