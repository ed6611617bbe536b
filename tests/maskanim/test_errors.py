"""Errors as a person reads them."""

from __future__ import annotations

import errno
import os
import pickle
from importlib import import_module
from pathlib import Path

import pytest

from maskanim.atomic import check_writable
from maskanim.cli import COMMANDS
from maskanim.errors import MaskanimError, MissingPackageError, needs_extra, run_command, system_error
from maskanim.video import open_clip, read_picture, read_source


def test_one_line_with_what_received_expected_and_next_step() -> None:
    error = MaskanimError("--driving a.mp4", "an empty\n file", "a video", "Copy it again")
    assert str(error) == "--driving a.mp4: an empty file; expected a video. Copy it again."
    assert str(MaskanimError("x", "y", "z")) == "x: y; expected z."


def test_a_missing_package_names_its_extra() -> None:
    told = r"the package nowhere_to_be is not installed.*'maskanim\[cpu\]'"
    with pytest.raises(MissingPackageError, match=told), needs_extra("engine x", "cpu"):
        import nowhere_to_be  # noqa: F401


def test_errors_come_through_from_another_process() -> None:
    for error in (MaskanimError("x", "y", "z", "Next"), MissingPackageError("x", "moderngl", "people")):
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


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
    with pytest.raises(SystemExit) as end:
        run_command(lambda **_: ran.append(1))
    if named is None:
        assert ran and not end.value.code
        return
    assert end.value.code == 2 and not ran
    assert capsys.readouterr().err.startswith(f"error: {named}: an empty value; expected")


# By the command without "maskanim-"; None is "maskanim" itself.
MISTAKES = {
    "no such option": [(name, ["--nonsense"]) for name in [*COMMANDS, None]],
    "requires an argument": [("run", ["--source"]), ("train", ["--config"]), ("bench", ["quality", "--grid"])],
    "invalid value for '--batch'": [("run", ["--batch", "x"]), ("run", ["--batch", "1.5"])],
    "invalid value for '--port'": [("app", ["--port", "x"])],
    "invalid value for '--threshold'": [("export", ["--threshold", "256"])],
    "invalid value for '--frames'": [("bench", ["quality", "--frames", "1"])],
    "invalid value for '--framing'": [("train", ["people", "--framing", "x", "--assets", "a", "--out", "b"])],
    "missing option": [("train", ["--data", "x"])],
    "missing argument": [("verify", []), ("bench", ["curve"])],
    "unexpected extra argument": [("run", ["a.jpg"]), ("doctor", ["now"])],
    "no such command": [("bench", ["spede"])],
    "did you mean 'run'?": [(None, ["rum"])],
}


def called(name: str | None, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    """Call a command as the shell does; its exit code."""
    monkeypatch.setattr("sys.argv", [f"maskanim-{name}" if name else "maskanim", *arguments])
    monkeypatch.setattr("__main__.__package__", None)  # else it is called as python -m pytest was
    with pytest.raises(SystemExit) as end:
        import_module(COMMANDS[name] if name else "maskanim.cli").main()
    return end.value.code


@pytest.mark.parametrize(
    ("told", "name", "arguments"), [(told, *call) for told, calls in MISTAKES.items() for call in calls]
)
def test_a_mistake_in_a_call_is_one_line(
    told: str,
    name: str | None,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert called(name, arguments, monkeypatch) == 2
    shown = capfd.readouterr()
    (line,) = shown.err.splitlines()
    command = f"maskanim-{name}" if name else "maskanim"
    assert line.startswith(f"error: {command}") and told in line.lower() and not shown.out
    assert "; expected what maskanim" in line and line.endswith("--help lists.")


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        (None, ["run", "--sorce", "a.jpg"], "maskanim run: no such option: --sorce (possible options: --source)"),
        (None, ["run", "--source"], "maskanim run: option '--source' requires an argument"),
        ("bench", ["quality", "--grid"], "maskanim-bench quality: option '--grid' requires an argument"),
        ("train", ["--config"], "maskanim-train: option '--config' requires an argument"),
    ],
)
def test_a_sub_command_is_named_as_it_was_called(
    name: str | None,
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert called(name, arguments, monkeypatch) == 2
    assert capfd.readouterr().err.lower().startswith(f"error: {told}; expected what {told.partition(':')[0]} --help ")


@pytest.mark.parametrize("name", ["train", "bench", None])
def test_without_anything_the_help_is_shown(
    name: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    called(name, [], monkeypatch)
    shown = capfd.readouterr()
    assert "Usage: maskanim" in shown.out + shown.err and "error" not in shown.err


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run", ["--source", "a.jpg", "--driving", "https://here.org/b.mp4"]),
        ("run", ["--driving=rtsp://10.0.0.1:554/stream"]),
        ("run", ["--source", "HTTP://here.org/a.jpg"]),
        ("run", ["-o", "s3://bucket/out.mp4"]),
        ("verify", ["https://here.org/b.mp4"]),
        ("export", ["--ckpt", "file:///last.pt"]),
    ],
)
def test_an_address_is_refused_as_it_was_given(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert called(name, arguments, monkeypatch) == 2
    (line,) = capfd.readouterr().err.splitlines()
    address = arguments[-1].rpartition("=")[2]
    assert f"{address}: an address on the network; expected a file on this machine. Download it first" in line


@pytest.mark.parametrize("read", [open_clip, read_picture, read_source])
def test_an_address_is_refused_from_python_too(read: type) -> None:
    with pytest.raises(MaskanimError, match=r"^https://here\.org/b\.mp4: an address on the network"):
        read("https://here.org/b.mp4")


def test_a_text_may_begin_as_an_address(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    called("run", ["--label", "https://here.org"], monkeypatch)
    assert "no --source and --driving" in capfd.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has other limits")
def test_a_name_that_is_too_long_is_measured(tmp_path: Path) -> None:
    long = tmp_path / f"{'n' * 300}.mp4"
    told = rf"n\.mp4: too long: a name of 304 bytes, with its folders {len(str(long))}; expected at most 255 and 4095"
    with pytest.raises(MaskanimError, match=told):
        check_writable(long)
    assert "a name of 304 bytes" in str(system_error(OSError(errno.ENAMETOOLONG, "File name too long", str(long))))


@pytest.mark.skipif(os.name == "nt", reason="Windows has other limits")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run", ["--driving=b.mp4", "--source"]),
        ("run", ["--source=a.jpg", "--driving"]),
        ("run", ["--pairs"]),
        ("run", ["--demo", "-o"]),
        ("run", ["--demo", "--preview"]),
        ("run", ["--demo", "--model"]),
        ("verify", []),
        ("export", ["--ckpt"]),
        ("train", ["--config=demo", "--data=synthetic", "--out"]),
        ("train", ["--config=demo", "--out=run", "--data"]),
        ("bench", ["quality", "--grid"]),
    ],
)
def test_a_name_that_is_too_long_is_one_line_in_every_command(
    name: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called(name, [*arguments, f"{'n' * 300}.png"], monkeypatch) == 2
    *_, line = capfd.readouterr().err.splitlines()
    assert "a name of 304 bytes" in line and line.endswith("expected at most 255 and 4095. Use a shorter name.")
