"""People of a stand-in for the assets, and, where those are, of the assets themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.small_people import write_standin
from maskanim.errors import MaskanimError
from maskanim.train.people.assets import Pack, read_pack
from maskanim.train.people.clip import Studio

REAL = Path(__file__).resolve().parents[4] / "shared/data/people"


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's folder."""
    return write_standin(tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="session")
def pack(assets: Path) -> Pack:
    return read_pack(assets)


def _studio(pack: Pack) -> Studio:
    pytest.importorskip("moderngl", reason="the extra people is not installed")
    try:
        return Studio(pack)
    except MaskanimError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def studio(pack: Pack) -> Studio:
    """Draws the stand-in's figures."""
    return _studio(pack)


@pytest.fixture(scope="session")
def real_assets() -> Path:
    """MakeHuman's data folder."""
    if not REAL.is_dir():
        pytest.skip("the assets are not part of the repository")
    return REAL


@pytest.fixture(scope="session")
def real_studio(real_assets: Path) -> Studio:
    """Draws people."""
    return _studio(read_pack(real_assets))
