"""Frames of the stand-in's figures and their ground truth; and what is said where there is no OpenGL."""

from __future__ import annotations

import sys
from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.ops import Frame
from maskanim.train.people.assets import Pack
from maskanim.train.people.clip import Studio, motion_of
from maskanim.train.people.motion import EXPRESSIONS, HeadPose
from maskanim.train.people.render import Look, Renderer

STILL = HeadPose(
    np.zeros(3), np.zeros(3), np.zeros(2), np.zeros(len(EXPRESSIONS), np.float32), np.zeros(2), 1.6, 0.3, 0.0
)


def test_a_frame_has_its_shapes_and_ranges(studio: Studio) -> None:
    frame = studio.frame(studio.person(0), studio.scene(0), motion_of(0).at(1.0))
    assert frame.image.shape == (256, 256, 3) and frame.image.dtype == np.uint8
    assert frame.figure_map.shape == (64, 64) and 0 <= frame.figure_map.min() < frame.figure_map.max() <= 1
    assert frame.foreground.shape == (256, 256) and 0.05 < frame.foreground.mean() < 0.9
    assert frame.landmarks.shape == (68, 2) and np.isfinite(frame.landmarks).all()


def test_outside_the_foreground_there_is_only_background(studio: Studio) -> None:
    scene = studio.scene(1)
    frame = studio.frame(studio.person(1), scene, STILL)
    outside = frame.foreground == 0
    assert outside.any()
    np.testing.assert_array_equal(frame.image[outside], scene.background[outside])
    assert not frame.figure_map.reshape(64, 64)[outside.reshape(64, 4, 64, 4).all((1, 3))].any()


@pytest.mark.parametrize("yaw", [-0.5, 0.4])
def test_angles_are_those_of_the_pose(studio: Studio, yaw: float) -> None:
    frame = studio.frame(studio.person(2), studio.scene(2), STILL._replace(neck=np.array([yaw, 0, 0])))
    np.testing.assert_allclose(frame.angles, [np.degrees(yaw), 0, 0], atol=1e-6)
    nose, still = (each.landmarks[30, 0] for each in (frame, studio.frame(studio.person(2), studio.scene(2), STILL)))
    assert np.sign(nose - still) == np.sign(yaw)  # positive is to the picture's right


def test_a_camera_from_above_sees_a_head_that_looks_down(studio: Studio) -> None:
    pitched = STILL._replace(neck=np.array([0, 0.2, 0]))
    raised = STILL._replace(rise=0.2)
    for pose in (pitched, raised):
        frame = studio.frame(studio.person(2), studio.scene(2), pose)
        np.testing.assert_allclose(frame.angles, [0, np.degrees(0.2), 0], atol=1e-6)


def test_roll_is_clockwise(studio: Studio) -> None:
    for roll in (0.2, -0.2):
        frame = studio.frame(studio.person(2), studio.scene(2), STILL._replace(neck=np.array([0, 0, roll])))
        eyes = frame.landmarks[45] - frame.landmarks[36]
        assert np.sign(frame.angles[2]) == np.sign(eyes[1]) and abs(frame.angles[2]) == pytest.approx(np.degrees(0.2))


def test_a_mouth_and_a_lid_open_as_told(studio: Studio) -> None:
    def with_weight(name: str, weight: float) -> HeadPose:
        expression = np.zeros(len(EXPRESSIONS), np.float32)
        expression[EXPRESSIONS.index(f"arkit/{name}")] = weight
        return STILL._replace(expression=expression)

    person, scene = studio.person(3), studio.scene(3)
    still, half, wide, blink = studio.frames(
        person, scene, [STILL, with_weight("jawOpen", 0.5), with_weight("jawOpen", 1.0), with_weight("eyeBlinkLeft", 1)]
    )
    assert still.mouth < half.mouth < wide.mouth
    assert blink.lids[1] < 0.5 * still.lids[1]  # the person's left eye is on the picture's right
    assert blink.lids[0] == pytest.approx(still.lids[0])


def test_a_skin_is_mixed_with_another_one_by_its_share(studio: Studio) -> None:
    person, scene = studio.person(0), studio.scene(0)
    other = "skins/old_darkskinned_female_diffuse"
    skin = person.looks["skin"]._replace(other="", share=0.0)

    def drawn(look: Look, texture: str = "") -> Frame:
        figure = copy(person.figure)
        figure.parts = [p._replace(texture=texture) if p.kind == "skin" and texture else p for p in figure.parts]
        return studio.frame(person._replace(figure=figure, looks=person.looks | {"skin": look}), scene, STILL).image

    own, theirs = drawn(skin), drawn(skin, other)
    assert np.abs(own.astype(int) - theirs).max() > 20
    np.testing.assert_array_equal(drawn(skin._replace(other=other, share=1.0)), theirs)
    half = drawn(skin._replace(other=other, share=0.5)).astype(int)
    assert (half >= np.minimum(own, theirs)).all() and (half <= np.maximum(own, theirs)).all()
    assert np.abs(half - own).max() > 8 < np.abs(half - theirs).max()


def test_many_frames_at_once_are_those_drawn_alone(studio: Studio) -> None:
    person, scene = studio.person(4), studio.scene(4)
    poses = [motion_of(4).at(time) for time in (0.0, 0.7, 1.9)]
    for together, alone in zip(studio.frames(person, scene, poses), poses, strict=True):
        for a, b in zip(together, studio.frame(person, scene, alone), strict=True):
            np.testing.assert_array_equal(a, b)


def test_two_studios_of_one_process_draw_as_one_alone(pack: Pack, studio: Studio) -> None:
    person, scene = studio.person(5), studio.scene(5)
    before = studio.frame(person, scene, STILL)
    # The other's textures have the same numbers in its own context: where contexts are mixed up, all is lips here.
    white = cv2.imencode(".png", np.full((128, 128, 3), 255, np.uint8))[1].tobytes()
    other = Studio(replace(pack, textures=pack.textures | {"maps/lips": white}))
    assert not np.array_equal(other.frame(person, scene, STILL).figure_map, before.figure_map)
    for a, b in zip(before[:3], studio.frame(person, scene, STILL)[:3], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_error_without_opengl_names_the_debian_packages(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(**_: object) -> None:
        raise OSError("libEGL.so.1: cannot open\nshared object file")

    monkeypatch.setitem(sys.modules, "moderngl", SimpleNamespace(create_context=no_library))
    with pytest.raises(MaskanimError, match=r"no OpenGL .*libEGL.*apt-get install libegl1 libgl1-mesa-dri"):
        Renderer(replace(pack))


def test_the_error_without_moderngl_names_the_extra(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moderngl", None)
    with pytest.raises(MissingPackageError, match=r"maskanim\[people\]"):
        Renderer(pack)
