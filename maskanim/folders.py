"""Folders that appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskanim.atomic import partial_path


@contextmanager
def sibling_folder(path: Path) -> Iterator[Path]:
    """A hidden temporary folder beside `path`, so that a rename brings it into place; removed if it is still there."""
    partial = partial_path(path)
    partial.mkdir()
    try:
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
