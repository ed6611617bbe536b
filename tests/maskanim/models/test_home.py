"""Where a user's files go: into an absolute folder of his, or nowhere that outlasts the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskanim.errors import MaskanimError
from maskanim.models import check_register, choose, home
from maskanim.provenance.credentials import load_credentials

CODE = """
import pwd
from pathlib import Path
pwd.getpwuid = lambda uid: {}[uid]  # as for a number without a name
from maskanim.models import home
print(home())
(home() / "provenance").mkdir(parents=True, exist_ok=True)
"""


def asked(tmp_path: Path, **variables: str) -> Path:
    """What `home` says in a process with such variables, from a folder in which nothing must appear."""
    names = ("HOME", "MASKANIM_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    (tmp_path / "here").mkdir()
    (tmp_path / "tmp").mkdir()
    environment |= {"TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment | variables, cwd=tmp_path / "here", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "here").iterdir()) and not list((tmp_path / "tmp").iterdir())
    return Path(done.stdout.strip())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are the variables of Linux")
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HOME": ""},
        {"HOME": "here"},
        {"HOME": "~"},
        {"HOME": "/dev/null"},
        {"HOME": "", "XDG_CONFIG_HOME": ""},
        {"XDG_CONFIG_HOME": "config"},
        {"HOME": "relative", "XDG_CONFIG_HOME": "~/config"},
    ],
    ids=str,
)
def test_without_a_folder_of_his_own(variables: dict[str, str], tmp_path: Path) -> None:
    found = asked(tmp_path, **variables)
    assert found.is_relative_to(tmp_path / "tmp") and not found.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are the variables of Linux")
def test_with_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    assert asked(tmp_path, HOME=str(mine)) == mine / ".config" / "maskanim"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are the variables of Linux")
def test_the_platforms_variable_and_ours(tmp_path: Path) -> None:
    assert asked(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "xdg")) == tmp_path / "xdg" / "maskanim"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these are the variables of Linux")
def test_ours_comes_first(tmp_path: Path) -> None:
    assert asked(tmp_path, HOME="", MASKANIM_HOME=str(tmp_path / "ours")) == tmp_path / "ours"


def test_in_another_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of `sudo -u`, which may leave HOME as it was: not even whether there is such a folder can be asked."""

    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.delenv("MASKANIM_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "exists", refuse)
    assert not home().is_relative_to(tmp_path)


def test_a_file_in_place_of_the_platforms_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "maskanim").touch()
    monkeypatch.delenv("MASKANIM_HOME", raising=False)
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_, **__: tmp_path / "maskanim")
    assert not home().is_relative_to(tmp_path)


@pytest.mark.parametrize("named", ["file", "file/below", "x" * 300])
def test_one_of_ours_that_is_no_folder(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has to be kept is refused with what to do about it; the demo can be chosen all the same."""
    (tmp_path / "file").write_text("kept", "utf-8")
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / named))
    with pytest.raises(MaskanimError, match=r"not a folder, and none can be made; .*MASKANIM_HOME.*--no-register"):
        check_register()
    assert choose("demo").bundle.manifest.name and (tmp_path / "file").read_text("utf-8") == "kept"
    pytest.importorskip("cryptography", reason="signing needs the extra provenance")
    with pytest.raises(MaskanimError, match=r"none can be made .*MASKANIM_HOME.*--no-provenance") as told:
        load_credentials()
    assert "\n" not in str(told.value)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path))
    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(MaskanimError, match=r"no file can be created in .*Read-only file system"):
        check_register()
