"""Files and folders that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from weakref import WeakSet

from maskanim.errors import NAME_BYTES, MaskanimError, system_error

MARK = ".partial-"
# Of the process that writes a partial file: 4 digits for its machine, then its number; both in hexadecimal.
OWNER = re.compile(r"([0-9a-f]{4})([0-9a-f]{1,8})-[0-9a-f]{8}$")
SECONDS_OF_OTHERS = 86400.0  # after which what another machine left is not being written any more
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # what a system says that has no room left
_handed_out: set[str] = set()
_locked: WeakSet[IO[str]] = WeakSet()
if hasattr(os, "register_at_fork"):  # a copy would go on to hold the locks of a process that was killed
    os.register_at_fork(after_in_child=lambda: [file.close() for file in _locked])


def partial_path(path: Path) -> Path:
    """A hidden name in the same folder that no other process uses, with the same suffix, never longer than allowed."""
    owner = f"{_machine()}{os.getpid():x}-{secrets.token_hex(4)}"
    name = f"{_beginning(path)}{owner}{path.suffix}"
    _handed_out.add(name)
    return path.with_name(name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what was written replaces `path` when the block ends, and goes when it raises.

    What a process that died has left of the same file goes, too.

    Raises:
        OSError: the file cannot be written or renamed. An older file at `path` is left as it was.
    """
    _remove_abandoned(path)
    partial = partial_path(path)
    try:
        with _named(path):
            yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What a full disk refuses names no file: it is `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = os.fspath(path)
        raise


def _beginning(path: Path) -> str:
    """Of the names of all partial files of `path`."""
    room = NAME_BYTES - len(os.fsencode(f".{MARK}{path.suffix}")) - len("0000ffffffff-01234567")
    return f".{os.fsencode(path.stem)[:room].decode('utf-8', 'ignore')}{MARK}"


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def _remove_abandoned(path: Path) -> None:
    """Remove what dead processes left of a file, and of the one that waits beside it for its signature."""
    stem, suffix = glob.escape(path.stem), glob.escape(path.suffix)
    for beginning in (glob.escape(_beginning(path)), f"..{stem}.*{MARK}"):
        for partial in path.parent.glob(f"{beginning}*{suffix}"):
            with suppress(OSError):  # another process was faster
                if partial.name not in _handed_out and _is_abandoned(partial):
                    partial.unlink()


def _is_abandoned(partial: Path) -> bool:
    """Whether nobody writes a partial file any more."""
    owner = OWNER.search(partial.stem)
    if owner is None or os.name == "nt":  # where asking after a process ends it
        return False
    if owner[1] != _machine():
        return time.time() - partial.stat().st_mtime > SECONDS_OF_OTHERS
    if int(owner[2], 16) == os.getpid():  # an earlier process of this number, as in a container
        return True
    try:
        os.kill(int(owner[2], 16), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def sibling_folder(path: Path) -> Iterator[Path]:
    """A hidden temporary folder beside `path`, so that a rename brings it into place; removed if it is still there."""
    partial = partial_path(path)
    partial.mkdir()
    try:
        with _named(path):
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Rename `new` to `path`; an older folder there steps aside first and comes back if the rename fails."""
    if not path.exists():
        new.rename(path)
        return
    with sibling_folder(path) as aside:
        old = path.rename(aside / "old")
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise


def write_text(path: Path, text: str) -> None:
    """Replace a file by a UTF-8 text."""
    with replacing(path) as partial:
        partial.write_text(text, "utf-8")


def hidden_path(path: Path, mark: str) -> Path:
    """The hidden name in the same folder, always the same one, that ends in `mark`; never longer than allowed."""
    name = os.fsencode(path.name)
    room = NAME_BYTES - len(os.fsencode(mark)) - 1
    if len(name) > room:
        digest = hashlib.sha256(name).hexdigest()[:8]
        return path.with_name(f".{name[: room - len(digest)].decode('utf-8', 'ignore')}{digest}{mark}")
    return path.with_name(f".{path.name}{mark}")


def check_writable(path: str | os.PathLike[str], *, folder: bool = False) -> Path:
    """Check, before any work, that a file, or with `folder` a folder, can be written.

    Returns:
        The path with symbolic links followed; what exists there is allowed, and left alone.

    Raises:
        MaskanimError: it is a folder or an impossible name, or its parent is missing or cannot be written to.
    """
    subject = os.fspath(path)
    try:
        resolved = Path(path).resolve()
        if resolved.is_dir() and not folder:
            raise MaskanimError(subject, "a folder", "the name of a file to write", "Add a file name")
        if not resolved.parent.is_dir():
            raise MaskanimError(subject, f"{resolved.parent} is not a folder", "an existing folder", "Create it first")
        resolved.exists()  # raises for a name that is too long, as `is_dir` does
        _remove_abandoned(resolved)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            raise system_error(error, subject) from error
        reason = getattr(error, "strerror", None) or "links that lead in a circle"
        raise MaskanimError(subject, f"not a name that a file can have ({reason})", "another name") from error
    try:
        probe = partial_path(resolved)
        probe.touch()
        probe.unlink()
    except OSError as error:
        received = f"no file can be created in {resolved.parent} ({error.strerror})"
        raise MaskanimError(subject, received, "a folder that can be written to", "Choose another folder") from error
    return resolved


@contextmanager
def sole_writer(path: Path, work: str = "render") -> Iterator[None]:
    """While it lasts, no other process, or other part of this one, writes a file, if it asks for the same.

    Args:
        work: what writes it, as a person calls that.

    Raises:
        MaskanimError: another one writes it.
    """
    place = hidden_path(path.resolve(), ".lock")
    for _ in range(10):
        file = place.open("a")
        if not lock(file):
            file.close()
            received, next_step = f"another {work} is writing it", "Wait for it, or choose another name"
            raise MaskanimError(os.fspath(path), received, f"one {work} at a time of a file", next_step)
        with suppress(OSError):
            if os.path.samestat(place.stat(), os.fstat(file.fileno())):
                break
        file.close()  # it was that of a process which has ended meanwhile
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps it while it is open
            place.unlink()
        file.close()


def lock(file: IO[str]) -> bool:
    """Lock an open file until it is closed; whether that could be, as no other process had locked it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # a file system that has no locks
    _locked.add(file)
    return True


def check_no_input(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check that what is to be written is none of the files that are read.

    Raises:
        MaskanimError: it is one of them.
    """
    output = Path(path)
    if output.exists() and any(output.samefile(given) for given in inputs if Path(given).exists()):
        raise MaskanimError(os.fspath(path), "the same file as an input", "a new file", "Choose another name")


@contextmanager
def disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Around the writing of a file or folder: an OSError becomes a MaskanimError about `path`."""
    try:
        yield
    except OSError as error:
        received, expected = f"writing it failed ({error.strerror})", "a place with room that can be written to"
        raise MaskanimError(os.fspath(path), received, expected) from error
