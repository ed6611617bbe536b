"""Errors as a person reads them."""

from __future__ import annotations

import pytest

from maskanim.errors import MaskanimError, MissingPackageError, needs_extra, run_command


def test_one_line_with_what_received_expected_and_next_step() -> None:
    error = MaskanimError("--driving a.mp4", "an empty\n file", "a video", "Copy it again")
    assert str(error) == "--driving a.mp4: an empty file; expected a video. Copy it again."
    assert str(MaskanimError("x", "y", "z")) == "x: y; expected z."


def test_a_missing_package_names_its_extra() -> None:
    told = r"the package nowhere_to_be is not installed.*'maskanim\[cpu\]'"
    with pytest.raises(MissingPackageError, match=told), needs_extra("engine x", "cpu"):
        import nowhere_to_be  # noqa: F401


def test_a_missing_module_of_our_own_is_a_bug_and_not_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("engine x", "cpu"):
        import maskanim.nowhere  # noqa: F401


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--source", "", "--driving", "b.mp4"], "--source"),
        (["--model="], "--model"),
        (["a.mp4", ""], "an argument"),
        (["--label", "a=", "a"], None),
    ],
)
def test_an_empty_argument_is_refused(
    arguments: list[str], named: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a shell's variable that is not set: it would be the current folder."""
    monkeypatch.setattr("sys.argv", ["maskanim-run", *arguments])
    ran: list[int] = []
    if named is None:
        run_command(lambda: ran.append(1))
        assert ran
        return
    with pytest.raises(SystemExit) as end:
        run_command(lambda: ran.append(1))
    assert end.value.code == 2 and not ran
    assert capsys.readouterr().err.startswith(f"error: {named}: an empty value; expected")
