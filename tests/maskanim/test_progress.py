"""Progress where there is no terminal: a line now and then, on standard error."""

from __future__ import annotations

import pytest

from maskanim import progress


def test_lines_come_at_intervals_and_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with progress.ProgressBar("frame") as bar:
        for done in range(1, 13):
            now += 1.0
            bar.update(done, 20 if done < 10 else None, f"{done} [a]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["frame 5 of 20, 5 [a], 0:00:15 left", "frame 10 of unknown, 10 [a]"]
