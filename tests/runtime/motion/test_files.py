"""Motion files: whole or refused in one line, and never half there."""

from __future__ import annotations

import base64
import itertools
import os
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.models import demo_bundle
from maskanim.runtime.motion import MotionWriter, check_motion_output, open_motion
from maskanim.runtime.motion.files import END, FRAMES, HEADER, MAGIC, HashChain, MotionModel, pack_block
from maskanim.spec import Perturbation
from maskanim.video import Clip

# Two frames, written by the first maskanim that wrote motion files.
FIRST_VERSION = (
    "TU1PVA0KGgoBANgAAABIeyJtb2RlbCI6eyJuYW1lIjoiZ29sZGVuIiwibV9zaGEyNTYiOiJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYW"
    "JhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiIiwicGVydHVyYmF0aW9uIjp7ImtpbmQiOiJtZWRpYW4iLCJ0aHJlc2hvbGQiOm51"
    "bGx9fSwicHJlY2lzaW9uIjoiZXhhY3QiLCJ0aW1lX2Jhc2UiOiIxLzYwMCIsInJhdGUiOiIzMDAwMC8xMDAxIn02e3AM5o9jLy2tPhFqjo6FTJ"
    "qRhtiJe7UDhqryyU8D/TwAAABGAgDgBDMAMV0AAYA5xEBdyTgICwDoGJ8WqiIGu5GiLP7g8E8j3akYpdeUKJ3/jSIg8KTu9eWdo/wlYACWjF57"
    "iKGyMbPl5aoQVacRI30FESQwsLknw9DQ5vi9qhsAAABFeyJmcmFtZXMiOjIsImR1cmF0aW9uIjoyMH31mnMiSF0UrtUV8f37XmWxOvMxisIiFJ"
    "W9Ax6u4tZNrg=="
)


def assert_one_line(error: pytest.ExceptionInfo[MaskanimError], path: Path) -> None:
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value) and "expected" in str(error.value)


def test_what_was_written_is_read(motion_file: Path, drawn_masks: Any, times: Any) -> None:
    motion = open_motion(motion_file)
    assert (motion.time_base, motion.rate, motion.frame_count, motion.first) == (*times[:2], 150, 0)
    starts = [512 * i + i % 3 for i in range(150)]
    for _ in range(2):
        found = list(motion.frames())
        assert [frame.pts for frame in found] == starts
        assert [frame.duration for frame in found] == [*np.diff(starts), times.frame_duration]
        for frame, wanted in zip(found, drawn_masks(150), strict=True):
            mask = frame.pixels()
            np.testing.assert_array_equal(mask, wanted)
            assert mask.shape == (1, 1, 64, 64) and mask.dtype == np.float32


def test_it_is_another_clips_times(motion_file: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    with Clip.of(open_motion(motion_file)) as clip, MotionWriter(tmp_path / "again.mmot", clip, tiny_bundle) as writer:
        for mask, pts in clip:
            writer.write(mask, pts)  # type: ignore[arg-type]
    assert (tmp_path / "again.mmot").read_bytes() == motion_file.read_bytes()


def test_nothing_of_the_driver_but_masks_is_in_it(motion_file: Path) -> None:
    assert motion_file.stat().st_size < 150 * 64 * 64 * 4 * 0.15


def test_every_flipped_byte_is_noticed(motion_file: Path) -> None:
    """Every byte of the beginning and of the end, and some in each block."""
    content = motion_file.read_bytes()
    for at in {*range(450), *range(len(content) - 120, len(content)), *range(0, len(content), 2003)}:
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        motion_file.write_bytes(damaged)
        with pytest.raises(MaskanimError) as error:
            open_motion(motion_file)
        assert_one_line(error, motion_file)


def test_every_truncation_is_noticed(motion_file: Path) -> None:
    content = motion_file.read_bytes()
    for length in {*range(450), *range(0, len(content), 9973), *range(len(content) - 120, len(content))}:
        motion_file.write_bytes(content[:length])
        with pytest.raises(MaskanimError) as error:
            open_motion(motion_file)
        assert_one_line(error, motion_file)


def test_it_says_where_it_is_damaged(motion_file: Path) -> None:
    content = bytearray(motion_file.read_bytes())
    content[len(content) // 2] ^= 255
    motion_file.write_bytes(content)
    with pytest.raises(MaskanimError, match="damaged behind 64 whole frames; expected a whole motion file"):
        open_motion(motion_file)


def test_something_behind_the_end(motion_file: Path) -> None:
    with motion_file.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(MaskanimError, match="something behind its end"):
        open_motion(motion_file)


def test_a_newer_version(motion_file: Path) -> None:
    content = bytearray(motion_file.read_bytes())
    content[len(MAGIC) : len(MAGIC) + 2] = struct.pack("<H", 2)
    motion_file.write_bytes(content)
    told = r"format version 2; expected version 1, which this maskanim reads\. Install a newer maskanim\.$"
    with pytest.raises(MaskanimError, match=told):
        open_motion(motion_file)


@pytest.mark.parametrize("content", [b"", b"MMOT", b"\0" * 100, b"MMOT\n\x1a\n" + bytes(50)])
def test_what_is_no_motion_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.mmot"
    path.write_bytes(content)
    with pytest.raises(MaskanimError, match="not a motion file; expected a motion file, as --save-motion writes it"):
        open_motion(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MaskanimError, match="there is no such file"):
        open_motion(tmp_path / "none.mmot")
    with pytest.raises(MaskanimError, match="cannot be read"):
        open_motion(tmp_path)


def test_a_file_with_right_hashes_and_wrong_content(motion_file: Path) -> None:
    """As another program might write it: refused, not crashed on."""
    header = motion_file.read_bytes()[len(MAGIC) + 2 :]
    size = struct.unpack_from("<I", header)[0]
    good = (HEADER, header[5 : 4 + size])
    end = (END, b'{"frames": 2, "duration": 1}')
    for blocks, told in (
        ([end], "no header"),
        ([(HEADER, b"{}"), end], "its header says something else"),
        ([good, (FRAMES, struct.pack("<H", 2) + b"nonsense"), end], "cannot be decoded"),
        ([good, (FRAMES, b"\2\0"), end], "an empty block"),
        ([good, (b"?", b"later"), end], "a block of an unknown kind"),
        ([good, end], "0 frames, and another number"),
        ([good, (END, b'{"frames": 0, "duration": 1}')], "its end says something else"),
    ):
        chain = HashChain()
        motion_file.write_bytes(MAGIC + struct.pack("<H", 1) + b"".join(pack_block(chain, *block) for block in blocks))
        with pytest.raises(MaskanimError, match=told):
            list(open_motion(motion_file).frames())


def test_a_file_that_changes_under_the_reader(motion_file: Path) -> None:
    motion = open_motion(motion_file)
    content = bytearray(motion_file.read_bytes())
    content[-500] ^= 1
    motion_file.write_bytes(content)
    with pytest.raises(MaskanimError, match="damaged behind 128 whole frames"):
        list(motion.frames())


def test_another_models_masks_are_refused(motion_file: Path, tiny_bundle: Bundle) -> None:
    motion, other = open_motion(motion_file), demo_bundle()
    motion.require_model(tiny_bundle)
    own = tiny_bundle.manifest.networks["m"].sha256[:12]
    with pytest.raises(MaskanimError, match=f"masks by m of model tiny, {own}; expected masks by m of model demo"):
        motion.require_model(other)
    manifest = tiny_bundle.manifest
    perturbation = manifest.model.model_copy(update={"perturbation": other.manifest.model.perturbation})
    with pytest.raises(MaskanimError, match="with the same perturbation"):
        motion.require_model(Bundle(tiny_bundle.path, manifest.model_copy(update={"model": perturbation})))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(
    motion_file: Path, tiny_bundle: Bundle, drawn_masks: Any, times: Any, error: type[BaseException]
) -> None:
    before = motion_file.read_bytes()
    with pytest.raises(error), MotionWriter(motion_file, times, tiny_bundle) as writer:
        for i, mask in enumerate(drawn_masks(70)):
            writer.write(mask, i)
        raise error
    assert motion_file.read_bytes() == before
    assert [path.name for path in motion_file.parent.iterdir()] == [motion_file.name]


def test_a_full_disk_is_one_line(
    tmp_path: Path, tiny_bundle: Bundle, drawn_masks: Any, times: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        return real(Path("/dev/full"), mode) if mode == "wb" else real(path, mode, *rest, **named)

    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    monkeypatch.setattr(Path, "open", full)
    with (
        pytest.raises(MaskanimError, match=r"m\.mmot: writing it failed \(No space left on device\)") as error,
        MotionWriter(tmp_path / "m.mmot", times, tiny_bundle) as writer,
    ):
        writer.write(drawn_masks(1)[0], 0)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_masks_that_do_not_fit(tmp_path: Path, tiny_bundle: Bundle, drawn_masks: Any, times: Any) -> None:
    (mask,) = drawn_masks(1)
    with (
        pytest.raises(MaskanimError, match="no mask was written"),
        MotionWriter(tmp_path / "m.mmot", times, tiny_bundle),
    ):
        pass
    with MotionWriter(tmp_path / "m.mmot", times, tiny_bundle) as writer:
        writer.write(mask, 5)
        for bad, pts, told in (
            (mask[0], 6, r"float32 of shape \(1, 64, 64\); expected float32 of shape \(1, 1, 64, 64\)"),
            (mask.astype(np.float64), 6, "float64"),
            (mask + 1, 6, r"expected values in \[0, 1\]"),
            (mask * np.float32(np.nan), 6, r"expected values in \[0, 1\]"),
            (mask, 5, "the frame before is at 5; expected frames in order of time"),
        ):
            with pytest.raises(MaskanimError, match=told):
                writer.write(bad, pts)
    assert open_motion(tmp_path / "m.mmot").frame_count == 1


def test_places_where_no_motion_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.mmot").mkdir()
    for name, told in (
        ("m.mp4", r"a name ending in '\.mp4'; expected one ending in \.mmot"),
        ("folder.mmot", "a folder"),
        ("none/m.mmot", "expected an existing folder"),
    ):
        with pytest.raises(MaskanimError, match=told):
            check_motion_output(tmp_path / name)
    if os.name == "posix" and Path("/proc").is_dir():
        with pytest.raises(MaskanimError, match="no file can be created in /proc"):
            check_motion_output("/proc/m.mmot")


def test_memory_is_flat(tmp_path: Path, tiny_bundle: Bundle, drawn_masks: Any, times: Any) -> None:
    """Forty seconds at 25 frames per second, against ten: no more memory at the peak than a block's worth."""
    masks, peaks = drawn_masks(64), []
    for count in (250, 1000):
        tracemalloc.start()
        with MotionWriter(tmp_path / "m.mmot", times, tiny_bundle) as writer:
            for i, mask in enumerate(itertools.islice(itertools.cycle(masks), count)):
                writer.write(mask, i)
        assert sum(1 for _ in open_motion(tmp_path / "m.mmot").frames()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2**20


def test_the_first_version_stays_readable(tmp_path: Path) -> None:
    (tmp_path / "old.mmot").write_bytes(base64.b64decode(FIRST_VERSION))
    motion = open_motion(tmp_path / "old.mmot")
    assert (motion.time_base, motion.rate, motion.first) == (Fraction(1, 600), Fraction(30000, 1001), 3)
    assert motion.header.model == MotionModel(name="golden", m_sha256="ab" * 32, perturbation=Perturbation())
    first, second = motion.frames()
    wanted = np.zeros((2, 1, 1, 64, 64), np.float32)
    wanted[0, ..., 10:12, 20:23] = [[0.5, 0.75, 1], [0.4, 0.6, 1 / 3]]
    wanted[1, ..., 11, 20:23] = 0.5, 0.7, 0.8
    np.testing.assert_array_equal(np.stack([first.image, second.image]), wanted)
    assert (first[1:], second[1:]) == ((3, 22), (25, 20))
