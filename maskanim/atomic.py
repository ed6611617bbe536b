"""Files that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskanim.errors import MaskanimError

NAME_BYTES = 255  # of a file name, on every file system in common use
MARK = ".partial-"


def partial_path(path: Path) -> Path:
    """A hidden name in the same folder that no other process uses, with the same suffix, never longer than allowed."""
    end = f"{MARK}{secrets.token_hex(4)}{path.suffix}"
    room = NAME_BYTES - len(os.fsencode(end)) - 1
    stem = os.fsencode(path.stem)[:room].decode("utf-8", "ignore")
    return path.with_name(f".{stem}{end}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what was written replaces `path` when the block ends, and goes when it raises.

    Raises:
        OSError: the file cannot be written or renamed. An older file at `path` is left as it was.
    """
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
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
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
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
def disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Around the writing of a file or folder: an OSError becomes a MaskanimError about `path`."""
    try:
        yield
    except OSError as error:
        received, expected = f"writing it failed ({error.strerror})", "a place with room that can be written to"
        raise MaskanimError(os.fspath(path), received, expected) from error
