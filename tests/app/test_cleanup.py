"""Old uploads and results go, the page's own files stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

from maskanim.app.server import cleanup, remove_old


def test_what_is_old_goes_with_its_folder(tmp_path: Path) -> None:
    now = time.time()
    for name, age in (("a/old.mp4", 100), ("b/old.mp4", 100), ("b/new.mp4", 0), ("demo/source.png", 100)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (now - age, now - age))
    for folder in tmp_path.iterdir():
        os.utime(folder, (now - 100, now - 100))
    kept = {tmp_path / "demo", tmp_path / "demo" / "source.png"}
    remove_old(tmp_path, now - 50, kept)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"b/new.mp4", "demo/source.png"}
    os.utime(tmp_path / "a", (now - 100, now - 100))
    remove_old(tmp_path, now - 50, kept)
    assert {path.name for path in tmp_path.iterdir()} == {"b", "demo"}


def test_it_sweeps_by_itself_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "demo.png").write_bytes(b"x")
    with cleanup(tmp_path, seconds=0.2):
        (tmp_path / "upload.png").write_bytes(b"x")
        end = time.monotonic() + 10
        while (tmp_path / "upload.png").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
    assert (tmp_path / "demo.png").exists()
    (tmp_path / "later.png").write_bytes(b"x")
    time.sleep(0.4)
    assert (tmp_path / "later.png").exists()
