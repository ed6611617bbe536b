"""Heads from meshes: known turns and openings, and rendered people whose angles are known."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.benchmarks.judges import Nets, Observed, perceive
from maskanim.benchmarks.judges.features import Feature
from maskanim.benchmarks.judges.heads import (
    EYE_WIDTH,
    FOCAL,
    GENERIC_FACE,
    INNER_LIPS,
    LIDS,
    MESH_68,
    Floats,
    read_heads,
    see_heads,
)
from maskanim.train.people.clip import PersonFrame, rotation

DISTANCE = 12.0  # of the camera, in units of the fixed face


def mesh(yaw: float = 0, pitch: float = 0, roll: float = 0, mouth: float = 0, lids: float = 0) -> Floats:
    """The fixed face, seen by a camera: (468, 2). Lips and lids are level bars in the plane of the eyes."""
    places = np.zeros((468, 3))
    for which, place in GENERIC_FACE.items():
        places[which] = place
    places[INNER_LIPS[0], 1], places[INNER_LIPS[1], 1] = mouth / 2, -mouth / 2
    for uppers, lowers in LIDS:
        places[list(uppers), 1], places[list(lowers), 1] = lids * EYE_WIDTH / 2, -lids * EYE_WIDTH / 2
    # About z the renderer turns the other way: to the right shoulder is anti-clockwise in its axes.
    seen = places @ rotation(*np.radians([yaw, pitch, -roll])).T
    depth = DISTANCE - seen[:, 2]
    return np.stack([FOCAL * seen[:, 0] / depth, -FOCAL * seen[:, 1] / depth], 1) + 127.5


@pytest.mark.parametrize("angles", [(0, 0, 0), (40, 0, 0), (-70, 5, 0), (0, 25, 0), (0, 0, -20), (30, -15, 12)])
def test_known_turns(angles: tuple[float, float, float]) -> None:
    (head,) = read_heads(mesh(*angles)[None])
    assert head[:3] == pytest.approx(angles, abs=0.01)


def test_known_openings_whatever_the_turn() -> None:
    for yaw in (0, 50):
        (head,) = read_heads(mesh(yaw, mouth=0.2, lids=0.4)[None])
        assert head[3:] == pytest.approx([0.2, 0.4, 0.4], rel=0.01)


def test_a_frame_without_a_face_is_not_read() -> None:
    found = np.array([[True] * 468, [False] * 468])
    values = np.stack([mesh(20), np.full((468, 2), np.nan)])
    seen = see_heads(Observed([], {"mesh": lambda _: Feature(values, found)}))
    assert seen.found.tolist() == [True, False] and seen.values[0, 0] == pytest.approx(20, abs=0.01)
    assert not seen.values[1].any()


def test_rendered_people(nets: Nets, rendered: list[PersonFrame]) -> None:
    """Found, in place, and turned as the renderer knows; wide for what the mesh itself cannot tell, see `heads`."""
    seen = Observed([frame.image for frame in rendered], perceive("face", nets).observers)
    points, heads = seen.see("mesh"), seen.see("head")
    found = heads.found
    assert found.mean() > 0.97
    away = points.values[:, MESH_68] - np.stack([frame.landmarks for frame in rendered])
    assert np.linalg.norm(away[found], axis=-1).mean() < 6
    truth = np.stack([frame.angles for frame in rendered])
    near = found & (np.abs(truth[:, 0]) < 45)
    yaw, pitch, roll = (np.corrcoef(heads.values[near, i], truth[near, i])[0, 1] for i in range(3))
    assert yaw > 0.95 and roll > 0.95 and pitch > 0.85
    mouth = np.array([frame.mouth for frame in rendered])
    assert np.corrcoef(heads.values[near, 3], mouth[near])[0, 1] > 0.7
