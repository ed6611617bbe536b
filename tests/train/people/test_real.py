"""People of the assets themselves: a few identities."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.train.people.clip import INNER, PersonFrame, Studio, motion_of
from maskanim.train.people.dataset import Order, draw_clip, truth_of
from maskanim.train.people.motion import EXPRESSIONS, HeadPose

STILL = HeadPose(
    np.zeros(3), np.zeros(3), np.zeros(2), np.zeros(len(EXPRESSIONS), np.float32), np.zeros(2), 1.6, 0.3, 0.0
)
NUMBERS = (0, 1, 2)
# The points of the right half of the face that mirror those of the left one: jaw, brows, eyes, lips.
MIRRORED = {**{i: 16 - i for i in range(8)}, **{17 + i: 26 - i for i in range(5)}, 36: 45, 39: 42, 48: 54, 31: 35}


@pytest.fixture(scope="module")
def frames(real_studio: Studio) -> list[PersonFrame]:
    """Six frames of each identity."""
    drawn = []
    for number in NUMBERS:
        poses = [motion_of(number).at(0.9 * i) for i in range(6)]
        drawn += real_studio.frames(real_studio.person(number), real_studio.scene(number), poses)
    return drawn


def expressing(**weights: float) -> HeadPose:
    expression = np.zeros(len(EXPRESSIONS), np.float32)
    for name, weight in weights.items():
        expression[EXPRESSIONS.index(f"arkit/{name}")] = weight
    return STILL._replace(expression=expression)


def test_the_same_seed_gives_the_same_bytes(real_studio: Studio) -> None:
    first, second = (draw_clip(real_studio, Order((2, 0), 2), "train", 1) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_all_is_finite_and_in_its_range(frames: list[PersonFrame]) -> None:
    assert all(np.isfinite(values).all() for values in truth_of(frames).values())
    for frame in frames:
        assert frame.figure_map.min() >= 0 and frame.figure_map.max() <= 1
        assert 0.2 < frame.foreground.mean() < 0.95
        assert 0 <= frame.mouth < 1 and (frame.lids >= 0).all() and (frame.lids < 1).all()


def test_landmarks_lie_on_the_figure_and_in_the_picture(frames: list[PersonFrame]) -> None:
    for frame in frames:
        assert (frame.landmarks > -8).all() and (frame.landmarks < 264).all()
        x, y = np.clip(np.round(frame.landmarks).astype(int), 0, 255).T
        assert (frame.foreground[y, x] > 0.5).mean() > 0.95


def test_faces_are_symmetric_from_the_front(real_studio: Studio) -> None:
    for number in NUMBERS:
        marks = real_studio.frame(real_studio.person(number), real_studio.scene(number), STILL).landmarks
        left, right = list(MIRRORED), list(MIRRORED.values())
        middle = marks[[27, 28, 29, 30, 8], 0].mean()
        np.testing.assert_allclose(marks[left, 0] + marks[right, 0], 2 * middle, atol=3)
        np.testing.assert_allclose(marks[left, 1], marks[right, 1], atol=2)


def test_faces_that_move_alike_lie_in_one_place(real_studio: Studio) -> None:
    """Two identities in one motion; framed by chin and crown, these faces are 3.6 pixels apart, and 11 at most."""
    apart, sizes = [], []
    for number in range(6):
        poses = [motion_of(number).at(0.9 * i) for i in range(2)]
        inner = [
            [frame.landmarks[INNER] for frame in real_studio.frames(person, real_studio.scene(0), poses)]
            for person in (real_studio.person(number), real_studio.person(number + 100, "test"))
        ]
        apart += [np.linalg.norm(a.mean(0) - b.mean(0)) for a, b in zip(*inner, strict=True)]
        sizes += [a.std() / b.std() for a, b in zip(*inner, strict=True)]
    print(f"{np.mean(apart):.2f} px apart, {np.max(apart):.2f} at most; sizes {np.min(sizes):.3f}, {np.max(sizes):.3f}")
    assert np.mean(apart) < 1.5 and max(apart) < 4 and min(sizes) > 0.93 and max(sizes) < 1.07


def test_jaws_and_lids_move_as_told(real_studio: Studio) -> None:
    for number in NUMBERS:
        poses = [STILL, *(expressing(jawOpen=weight) for weight in (0.3, 0.6, 0.9))]
        poses += [expressing(eyeBlinkLeft=weight) for weight in (0.3, 0.5, 0.8, 1.0)]
        drawn = real_studio.frames(real_studio.person(number), real_studio.scene(number), poses)
        mouths = [frame.mouth for frame in drawn[:4]]
        assert mouths == sorted(mouths) and mouths[-1] > mouths[0] + 0.1
        lids = [drawn[0].lids[1], *(frame.lids[1] for frame in drawn[4:])]
        assert lids == sorted(lids, reverse=True) and lids[2] < 0.6 * lids[0]
        assert lids[-1] == 0, "shut tight, the upper lid is below the rim of the lower one"
        assert drawn[-1].lids[0] == pytest.approx(drawn[0].lids[0], rel=0.05)


def test_a_turn_is_to_the_side_that_its_angle_says(real_studio: Studio) -> None:
    person, scene = real_studio.person(0), real_studio.scene(0)
    poses = [STILL._replace(neck=np.array([yaw, 0, 0])) for yaw in (-0.6, 0, 0.6)]
    left, middle, right = real_studio.frames(person, scene, poses)
    assert [round(float(frame.angles[0]), 3) for frame in (left, middle, right)] == [-34.377, 0, 34.377]
    nose = [frame.landmarks[30, 0] - frame.landmarks[[0, 16], 0].mean() for frame in (left, middle, right)]
    assert nose[0] < nose[1] - 10 and nose[2] > nose[1] + 10


def test_eyes_and_lips_are_darker_than_skin_in_the_figure_map(real_studio: Studio) -> None:
    for number in NUMBERS:
        frame = real_studio.frame(real_studio.person(number), real_studio.scene(number), STILL._replace(zoom=1.2))

        def level(*points: int, frame: PersonFrame = frame) -> float:
            x, y = np.round((frame.landmarks[list(points)].mean(0) + 0.5) / 4 - 0.5).astype(int)
            return float(frame.figure_map[y, x])

        skin = level(29)
        assert skin > 0.6
        for eye in ((36, 39), (42, 45)):
            assert level(*eye) < 0.75 * skin
        assert level(57, 66) < 0.7 * skin


def test_the_same_motion_on_another_identity_has_the_same_angles(real_studio: Studio) -> None:
    order = Order((2, 0), 3)
    for a, b in zip(*(draw_clip(real_studio, order, "train", number, motion=0) for number in (0, 1)), strict=True):
        np.testing.assert_allclose(a.angles, b.angles, atol=1e-9)
        assert not np.array_equal(a.image, b.image)
