"""Rendered people: the arithmetic on known answers, what is missing said in a line, and a few real ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from maskanim.ablations import TEST_TIME
from maskanim.benchmarks.cli import app
from maskanim.benchmarks.quality.people import ANSWER, REPEATED, Seen, estimates, kept, likeness, people_table, pixels
from maskanim.bundle import Bundle
from maskanim.train.people.clip import PersonFrame


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["quality", "people", *map(str, arguments)])


def person(shade: int, covered: slice) -> PersonFrame:
    foreground = np.zeros((256, 256), np.float32)
    foreground[:, covered] = 1
    none = np.zeros(3)
    image = np.full((256, 256, 3), shade, np.uint8)
    return PersonFrame(image, np.zeros((64, 64), np.float32), foreground, np.zeros((68, 2)), none, 0, none[:2])


def seen(yaw: Sequence[float], found: Sequence[bool] | None = None, identity: Sequence[float] | None = None) -> Seen:
    heads = np.zeros((len(yaw), 6))
    heads[:, 0] = yaw
    points = np.zeros((len(yaw), 4, 2))
    points[:, :, 0] = np.array(yaw)[:, None]
    embedding = None if identity is None else np.array(identity, np.float32)
    return Seen(points, heads, np.array(found or [True] * len(yaw)), embedding)


def test_pixels_inside_and_outside() -> None:
    """The union covers columns 0 to 96; the source is 51 off the target there, the picture 0 or 51."""
    source, target = person(51, slice(0, 64)), person(102, slice(32, 96))
    picture = target.image.copy()
    picture[:, :48] = 51  # half of the union as in the source
    picture[:, 176:] = 51  # half of the outside
    figures = estimates([pixels([picture], [target], source)])
    values = {name: each and each.value for name, each in figures.items()}
    assert values == pytest.approx({"inside": 0.1, "inside_ratio": 0.5, "outside": 0.1})
    repeated = estimates([pixels([source.image], [target], source)])["inside_ratio"]
    assert repeated == pytest.approx((1, 1, 1))


def test_likeness_over_frames_with_a_face_in_both() -> None:
    truth = seen([0, 10, 20, 30, 40])
    made = seen([3, 13, 23, 33, 99], [True, True, True, True, False])
    figures = estimates([likeness(made, truth)])
    expected = {"landmarks": 3, "yaw_error": 3, "yaw_correlation": 1, "face_found": 0.8, "pitch_error": 0}
    assert {name: each.value for name in expected if (each := figures[name])} == pytest.approx(expected)
    assert figures["pitch_correlation"] is None  # nothing moves


def test_correlations_are_within_clips() -> None:
    """Two clips that each go against the driver, far apart: pooled without the clips' means they would agree."""
    clips = [likeness(seen([base + 2, base + 1, base]), seen([base, base + 1, base + 2])) for base in (0, 100)]
    assert (found := estimates(clips)["yaw_correlation"]) and found.value == pytest.approx(-1)


def test_nobody_found() -> None:
    figures = estimates([likeness(seen([1, 2, 3], [False] * 3), seen([1, 2, 3]))])
    assert (found := figures["face_found"]) and found.value == 0
    assert figures["landmarks"] is None and figures["yaw_correlation"] is None


@pytest.mark.parametrize(("made", "nearer"), [([1, 0.2], 1.0), ([0.2, 1], 0.0), (None, 0.0)])
def test_whose_identity(made: Sequence[float] | None, nearer: float) -> None:
    """A result without a face has lost it; a driver without one says nothing."""
    source, driver = seen([0], identity=[1, 0]), seen([0], identity=[0, 1])
    assert kept(seen([0], identity=made), source, driver)["identity_kept"] == (nearer, 1)
    assert kept(seen([0], identity=made), source, seen([0]))["identity_kept"] == (0, 0)


def test_the_table_has_a_dash_where_there_is_nothing() -> None:
    rows = {"full": estimates([likeness(seen([1, 2, 4]), seen([1, 2, 3]))])}
    table = people_table(rows, 1, 3)
    cells = {line[0].strip(): line[1] for line in table.rows}
    assert table.headings == ("", "the model")
    assert cells["yaw off °"] == "0.3 ±0.0" and cells["SSIM"] == "-" and cells["pitch correlation"] == "-"


def test_no_assets(tmp_path: Path, tiny_bundle: Bundle, nets: object) -> None:
    result = run("--assets", tmp_path, "--model", tiny_bundle.path, "--nets", nets.folder)  # type: ignore[attr-defined]
    assert result.exit_code == 2 and f"--assets {tmp_path}: no 3dobjs/base.obj" in result.output


def test_no_judges(tmp_path: Path, tiny_bundle: Bundle) -> None:
    result = run("--assets", tmp_path, "--model", tiny_bundle.path, "--nets", tmp_path)
    assert result.exit_code == 2 and "the judges of people: mediapipe-face-detection is not here" in result.output
    assert "maskanim-bench quality nets --fetch" in result.output


def test_a_real_one(assets: Path, nets: object, tiny_bundle: Bundle, tmp_path: Path) -> None:
    found = tmp_path / "people.json"
    given = ("--assets", assets, "--nets", nets.folder, "--model", tiny_bundle.path)  # type: ignore[attr-defined]
    result = run(*given, "--identities", 2, "--frames", 4, "--json", found)
    assert result.exit_code == 0, result.output
    rows = json.loads(found.read_text())["rows"]
    assert list(rows) == [*TEST_TIME, REPEATED, ANSWER]
    assert rows[REPEATED]["inside_ratio"]["value"] == pytest.approx(1)
    assert rows[REPEATED]["rebuilt_outside"]["value"] < 0.001 and rows[REPEATED]["yaw_correlation"] is None
    assert rows["full"]["ssim"]["value"] < 0.9  # random networks
    # The answer shows the source's identity, moved as the renderer says.
    assert rows[ANSWER]["identity_kept"]["value"] == 1 and rows[ANSWER]["landmarks"]["value"] < 10
