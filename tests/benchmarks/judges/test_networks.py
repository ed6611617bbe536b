"""The real networks on real frames: a handful, with answers that are known or that the paper gives."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from maskanim.benchmarks.judges import Nets
from maskanim.benchmarks.judges.features import Observed
from maskanim.benchmarks.judges.perception import Perception, perceive
from maskanim.benchmarks.metrics import akd, csim, mkr
from maskanim.benchmarks.scoring.engine import score_video
from maskanim.benchmarks.scoring.results import Scored
from maskanim.benchmarks.scoring.videos import AUTHORS, Columns
from maskanim.ops import Frame


@pytest.fixture(scope="module")
def body(nets: Nets) -> Perception:
    return perceive("body", nets)


@pytest.fixture(scope="module")
def face(nets: Nets) -> Perception:
    return perceive("face", nets)


def cells(path: Path, names: Sequence[str], every: int, count: int) -> list[list[Frame]]:
    """Frames of some columns of a sample."""
    columns = Columns(AUTHORS, border=2)
    with ExitStack() as stack:
        rows = list(islice(columns.cells(path, stack, every), count))
    return [[np.ascontiguousarray(row[columns.names.index(name)]) for row in rows] for name in names]


def test_bodies_that_are_shifted(samples: Path, body: Perception) -> None:
    """By 12 pixels, the edge repeated; two pixels of tolerance: MoveNet's own grid is coarser than a pixel."""
    ((frame,),) = cells(samples / "Taichi" / "c.mp4", ["driving"], 1, 1)
    moved = np.pad(frame, ((0, 0), (12, 0), (0, 0)), mode="edge")[:, :256]
    same, away = (Observed([each], body.observers).see("keypoints") for each in (frame, moved))
    part = akd(away, same)
    assert part.counts.sum() >= 12
    assert part.totals.sum() / part.counts.sum() == pytest.approx(12, abs=2)
    assert akd(same, same).totals.sum() == 0


def test_nobody_in_the_picture(samples: Path, body: Perception) -> None:
    ((frame,),) = cells(samples / "Taichi" / "c.mp4", ["driving"], 1, 1)
    grey = np.full_like(frame, 128)
    person, nobody = (Observed([each], body.observers) for each in (frame, grey))
    part = mkr(nobody.see("keypoints"), person.see("keypoints"))
    assert part.totals.sum() / part.counts.sum() > 0.95
    assert person.see("people").found.all() and not nobody.see("people").found.any()
    assert 0.05 < person.see("people").values.mean() < 0.4


def test_the_samples_order_as_table_4_does(samples: Path, body: Perception) -> None:
    """AKD on every 24th frame; that of every twelfth is in benchmarks/results. Bounds: what so few frames may move."""
    keypoints = Perception("body", {"keypoints": body.observers["keypoints"]}, words={"keypoints": "key-points"})
    columns = Columns(AUTHORS.replace("low_res", "-"), border=2)
    videos = []
    for file in sorted((samples / "Taichi").glob("*.mp4")):
        videos += score_video(columns.case(file, every=24), keypoints)
    scored = Scored(keypoints, columns.methods, videos)
    found = {method: scored.estimate(method, "AKD") for method in columns.methods}
    values = [found[method].value for method in ("ours", "fomm", "monkeynet", "x2face")]  # type: ignore[union-attr]
    assert values == sorted(values)
    assert values[0] == pytest.approx(9.9, abs=2.5) and values[3] == pytest.approx(21.8, abs=4)


def test_swapped_faces(samples: Path, face: Perception) -> None:
    """Frames of one person are nearer to each other than to another's, by far; the cosine is taken about the mean."""
    (a,), (b,) = (cells(samples / "Vox" / name, ["driving"], 40, 2) for name in ("a.mp4", "b.mp4"))
    first, second = (Observed(each, face.observers).see("identity") for each in (a, b))
    assert first.found.all() and second.found.all()
    own = [csim(each, each._replace(values=each.values[::-1])).totals.mean() for each in (first, second)]
    assert min(own) > 0.7 and csim(first, second).totals.mean() < 0.4


@pytest.mark.parametrize("points", [468, 68])
def test_faces_that_are_shifted_or_absent(samples: Path, nets: Nets, points: int) -> None:
    face = perceive("face", nets, points)
    ((frame,),) = cells(samples / "Vox" / "a.mp4", ["driving"], 1, 1)
    moved = np.pad(frame, ((6, 0), (0, 0), (0, 0)), mode="edge")[:256]
    seen = Observed([frame, moved, np.full_like(frame, 90)], face.observers)
    found = seen.see("keypoints")
    assert found.values.shape == (3, points, 2) and found.found.all(1).tolist() == [True, True, False]
    assert (found.values[1] - found.values[0])[:, 1].mean() == pytest.approx(6, abs=1)
    assert seen.see("expression").values[0] == seen.see("expression").values[1] == 1  # happy, and so she is


def test_the_picture_s_embedding(samples: Path, body: Perception) -> None:
    pytest.importorskip("torch")
    if "embedding" in body.missing:
        pytest.skip(body.missing["embedding"])
    a, b = cells(samples / "Taichi" / "c.mp4", ["driving", "source"], 10, 2)
    found = Observed([*a, b[0]], body.observers).see("embedding").values
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert np.linalg.norm(found[0] - found[1]) < np.linalg.norm(found[0] - found[2])
