"""Files that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
