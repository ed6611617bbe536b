"""A figure's points: morphs, what follows the body, the skeleton and the normals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.small_people import BALL, BOX, EYES, LOWER_LIP, MIDDLE, RINGS, SEGMENTS
from maskanim.train.people.assets import Pack
from maskanim.train.people.clip import LANDMARKS, rotation
from maskanim.train.people.figure import Anatomy, Figure, HairShape, morphed
from maskanim.train.people.motion import EXPRESSIONS

SKIN, EYE = "skins/young_lightskinned_male_diffuse", "eyes/brown"
STILL = np.zeros(len(EXPRESSIONS), np.float32)
BALLS = np.arange(BALL + SEGMENTS, BALL + SEGMENTS * (RINGS - 1))  # without the rims


@pytest.fixture(scope="module")
def anatomy(pack: Pack) -> Anatomy:
    return Anatomy(pack, "head", EXPRESSIONS)


@pytest.fixture(scope="module")
def figure(anatomy: Anatomy) -> Figure:
    return Figure(anatomy, {}, ["hair/afro01"], SKIN, EYE)


def test_targets_add_up_and_leave_the_base_alone(pack: Pack) -> None:
    before = pack.base.vertices.copy()
    made = morphed(pack.base.vertices, pack.targets, {"ears/l-ear-big": 0.5, "ears/r-ear-big": 0.25})
    np.testing.assert_allclose(made[BALL] - before[BALL], 0.75)
    np.testing.assert_array_equal(pack.base.vertices, before)


def test_a_head_has_what_is_above_the_chest_and_a_body_all(pack: Pack, figure: Figure) -> None:
    assert (figure.base_points[BOX : BOX + 8] == -1).all() and (figure.base_points[BALLS] >= 0).all()
    body = Figure(Anatomy(pack, "body", EXPRESSIONS), {}, [], SKIN, EYE)
    assert (body.base_points[BOX : BOX + 8] >= 0).all()


def test_what_clothes_cover_is_not_drawn(pack: Pack) -> None:
    anatomy = Anatomy(pack, "body", EXPRESSIONS)
    bare, dressed = (Figure(anatomy, {}, wears, SKIN, EYE) for wears in ([], ["clothes/male_suit01"]))
    count = [len(figure.parts[0].triangles) for figure in (bare, dressed)]
    assert count[0] - count[1] == 2  # the box's lowest side: two triangles


def test_a_hairs_shape_grows_outwards_alone_shifts_and_lengthens() -> None:
    points = np.array([[1, 0, 0], [0, 1, 0], [0, -2, 0]], np.float32)
    centre, none = np.zeros(3, np.float32), np.zeros(9, np.float32)
    still = np.zeros(3, np.float32)
    np.testing.assert_array_equal(HairShape(none, 1, still).applied(points, centre, -1), points)
    wider = HairShape(np.eye(9, dtype=np.float32)[3] * 0.2, 1, still).applied(points, centre, -1)
    np.testing.assert_allclose(wider, [[1.2, 0, 0], [0, 1, 0], [0, -2, 0]], atol=1e-6)
    smaller = HairShape(np.eye(9, dtype=np.float32)[0] * -0.2, 1, still).applied(points, centre, -1)
    np.testing.assert_array_equal(smaller, points)
    longer = HairShape(none, 1.5, np.float32([0, 0.5, 0])).applied(points, centre, -1)
    np.testing.assert_allclose(longer, [[1, 0.5, 0], [0, 1.5, 0], [0, -1.75, 0]])


def test_normals_of_a_ball_point_outwards(figure: Figure) -> None:
    points, normals = figure.posed(STILL, {})
    places = figure.base_points[BALLS]
    outwards = points[places] - MIDDLE
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    assert ((outwards * normals[places]).sum(1) > 0.99).all()
    np.testing.assert_allclose(np.linalg.norm(normals[places], axis=1), 1, atol=1e-5)


def test_a_turn_of_the_root_turns_all_about_its_joint(figure: Figure) -> None:
    turn = rotation(0.6, -0.2, 0.1)
    still, moved = (figure.posed(STILL, turns)[0] for turns in ({}, {"root": turn}))
    joint = figure.joints[0]
    np.testing.assert_allclose(moved, (still - joint) @ turn.T + joint, atol=1e-5)


def test_bones_turn_within_their_parents(figure: Figure) -> None:
    turn = rotation(0.5, 0, 0)
    once, twice = ({"root": rotation(1.0, 0, 0)}, {"root": turn, "head": turn})
    a, b = (figure.posed(STILL, turns)[0][figure.base_points[BALLS]] for turns in (once, twice))
    np.testing.assert_allclose(a, b, atol=1e-5)  # all joints of the stand-in stand above one another


def test_the_jaw_follows_the_head_where_no_bone_of_it_is_kept(figure: Figure) -> None:
    lip = figure.base_points[LANDMARKS[LOWER_LIP[0]]]
    np.testing.assert_allclose(figure.weights.sum(1), 1, atol=1e-6)
    assert figure.weights[lip, figure.anatomy.skeleton.names.index("head")] == pytest.approx(1)


def test_eyes_turn_about_their_own_middles(figure: Figure) -> None:
    eye = figure.base_points[EYES["l"] : EYES["l"] + 6]
    still, moved = (figure.posed(STILL, turns)[0] for turns in ({}, {"eye.L": rotation(0.4, 0, 0)}))
    np.testing.assert_allclose(still[eye].mean(0), moved[eye].mean(0), atol=1e-5)
    assert np.abs(still[eye] - moved[eye]).max() > 0.03
    np.testing.assert_array_equal(np.delete(still, eye, 0), np.delete(moved, eye, 0))


def test_an_expression_moves_what_its_target_moves(figure: Figure) -> None:
    weights = STILL.copy()
    weights[EXPRESSIONS.index("arkit/jawOpen")] = 0.5
    moved = figure.posed(weights, {})[0] - figure.posed(STILL, {})[0]
    lip = figure.base_points[[LANDMARKS[i] for i in LOWER_LIP]]
    np.testing.assert_allclose(moved[lip], np.tile([0, -0.1, 0], (len(lip), 1)), atol=1e-5)
    assert not np.delete(moved, lip, 0).any()


def test_hair_follows_an_identity_and_its_head(anatomy: Anatomy, figure: Figure, pack: Pack) -> None:
    proxy = pack.proxies["hair/afro01"]
    hair = slice(len(figure.rest) - 4, None)
    follows = [pack.base.vertices[corner] for corner in proxy.corners[1:, 0]]
    np.testing.assert_allclose(figure.rest[hair][1:], follows, atol=1e-6)
    corners = pack.base.vertices[proxy.corners[0]]
    np.testing.assert_allclose(figure.rest[hair][0], [0.5, 0.25, 0.25] @ corners + [0, 0.1, 0], atol=1e-5)
    large = Figure(anatomy, {"macrodetails/caucasian-male-old": 2.0}, ["hair/afro01"], SKIN, EYE)
    ball = pack.targets["macrodetails/caucasian-male-old"].deltas[proxy.corners[1:, 0] - BALL]
    np.testing.assert_allclose(large.rest[hair][1:] - figure.rest[hair][1:], 2 * ball, atol=1e-5)
    turn = rotation(0.5, 0, 0)
    turned = figure.posed(STILL, {"head": turn})[0][hair]
    joint = figure.joints[figure.anatomy.skeleton.names.index("head")]
    np.testing.assert_allclose(turned, (figure.rest[hair] - joint) @ turn.T + joint, atol=1e-5)


def test_expressions_that_the_assets_lack_move_nothing(pack: Pack, caplog: pytest.LogCaptureFixture) -> None:
    """An installed MakeHuman has no targets/arkit."""
    bare = replace(pack, targets={name: target for name, target in pack.targets.items() if "arkit" not in name})
    figure = Figure(Anatomy(bare, "head", EXPRESSIONS), {}, [], SKIN, EYE)
    still, _ = figure.posed(np.zeros(len(EXPRESSIONS), np.float32), {})
    moved, _ = figure.posed(np.ones(len(EXPRESSIONS), np.float32), {})
    np.testing.assert_array_equal(still, moved)
    assert "expressions, so faces move less" in caplog.text
