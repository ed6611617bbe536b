"""What is uploaded and made is kept for a while only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

SECONDS_KEPT = 3600.0
LOOKS_PER_STAY = 10


@contextmanager
def cleanup(folder: Path, seconds: float = SECONDS_KEPT) -> Iterator[None]:
    """Delete what is older in a folder, again and again while the block runs; what is there before it stays.

    Gradio's own cleanup passes over some of the files that a page shows.

    Args:
        folder: all below it.
        seconds: how long a file is kept after its last change, give or take a tenth.
    """
    ended, kept = Event(), set(folder.rglob("*"))

    def remove_often() -> None:
        while not ended.wait(seconds / LOOKS_PER_STAY):
            remove_old(folder, time.time() - seconds, kept)

    thread = Thread(target=remove_often, name="maskanim-cleanup", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def remove_old(folder: Path, before: float, kept: set[Path]) -> None:
    """Delete the files, and the empty folders, that were last changed before a time.

    A folder changes when a file in it is deleted: so it goes a stay later than its last file.
    """
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        with suppress(OSError):  # someone else was faster, or the folder is not empty
            if path not in kept and path.stat().st_mtime < before:
                path.rmdir() if path.is_dir() else path.unlink()
