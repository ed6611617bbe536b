"""What is written beside a file first, and what becomes of it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maskanim.atomic import NAME_BYTES, check_writable, partial_path, replacing, sibling_folder, sole_writer, write_text
from maskanim.errors import MaskanimError

DYING = """
import os, sys
from pathlib import Path
from maskanim.atomic import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ValueError, match="half-way"), replacing(path) as partial:
        partial.write_text("new")
        raise ValueError("half-way")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_of_the_file(tmp_path: Path) -> None:
    """What the system says then names none, and would be taken for standard output's."""
    for writing in (replacing, sibling_folder):
        with pytest.raises(OSError, match=f"No space left.*{tmp_path / 'a'}"), writing(tmp_path / "a"):
            raise OSError(errno.ENOSPC, "No space left on device")
        with pytest.raises(OSError, match=r"Broken pipe$"), writing(tmp_path / "a"):
            raise OSError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("stem", ["s" * 251, "é" * 125, "x"])
def test_names_are_never_too_long(stem: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.mp4"
    assert len(os.fsencode(partial_path(path).name)) <= NAME_BYTES
    write_text(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("name", ["a.mp4", "a[1]*.mp4", "s" * 251 + ".mp4"])
def test_what_a_killed_process_left_goes_with_the_next_one(name: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DYING, tmp_path / name], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    living = partial_path(tmp_path / name)
    living.write_text("another thread is at it")
    write_text(tmp_path / name, "new")
    assert {path.name for path in tmp_path.iterdir()} == {name, living.name}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("place", ["a.mp4", ".a.mp4.unsigned.mp4", ".a.partial-000012-01234567.mp4"])
def test_what_a_killed_process_left_goes_whatever_the_next_one_does(place: str, tmp_path: Path) -> None:
    """It was a recording, say, and the next one renders a file in segments."""
    subprocess.run([sys.executable, "-c", DYING, tmp_path / place], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    check_writable(tmp_path / "b.mp4")
    assert len(list(tmp_path.iterdir())) == 1
    check_writable(tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


def test_what_another_machine_writes_stays(tmp_path: Path) -> None:
    theirs = tmp_path / ".a.partial-000012-01234567.mp4"
    theirs.write_text("half")
    if theirs.name[10:14] == partial_path(tmp_path / "a.mp4").name[10:14]:
        pytest.skip("this machine has that number")
    write_text(tmp_path / "a.mp4", "new")
    assert theirs.exists()
    os.utime(theirs, (0, 0))
    write_text(tmp_path / "a.mp4", "new")
    assert not theirs.exists()


WRITING = """
import sys, time
from pathlib import Path
from maskanim.atomic import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("at it", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are copied here")
def test_a_copy_of_a_dead_process_does_not_hold_its_files(tmp_path: Path) -> None:
    """As the processes that load data are, which outlive a training that was killed for seconds."""
    program = WRITING.replace("print", "os.fork() or print").replace("import", "import os,", 1)
    command, output = [sys.executable, "-c", program, tmp_path / "a"], subprocess.PIPE
    with subprocess.Popen(command, stdout=output, start_new_session=True) as process:
        assert process.stdout and process.stdout.readline() == b"at it\n"
        process.kill()
        process.wait()
        try:
            with sole_writer(tmp_path / "a"):
                pass
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["a.mp4", "s" * 251 + ".mp4"])
def test_one_process_writes_a_file_and_a_dead_one_leaves_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with subprocess.Popen([sys.executable, "-c", WRITING, path], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"at it\n"
        with pytest.raises(MaskanimError) as refused, sole_writer(path):
            pytest.fail("two wrote it")
        assert str(refused.value).startswith(f"{path}: another render is writing it; expected one render at a time")
        process.kill()
    assert len(list(tmp_path.iterdir())) == 1
    with sole_writer(path), pytest.raises(MaskanimError, match="another render"), sole_writer(path):
        pytest.fail("two wrote it")
    assert not list(tmp_path.iterdir())
