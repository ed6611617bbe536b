"""Light, backgrounds and cameras."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.train.people.assets import Pack
from maskanim.train.people.render import irradiance
from maskanim.train.people.scene import draw_scene, look_at

LIT = np.array([1.0, 0.5, 0.25], np.float32)


def test_a_uniform_panorama_lights_all_sides_alike() -> None:
    terms = irradiance(np.ones((64, 128, 3), np.float32) * LIT, 0.7)
    np.testing.assert_allclose(terms[0], LIT, rtol=1e-3)
    assert np.abs(terms[1:]).max() < 2e-3


@pytest.mark.parametrize("axis", ["up", "right"])
def test_a_panorama_of_one_side_lights_by_the_cosine(axis: str) -> None:
    """Half of a sphere's light reaches a normal n as (1 + n.s) / 2, which the harmonics hold exactly."""
    panorama = np.zeros((64, 128, 3), np.float32)
    if axis == "up":
        panorama[:32] = LIT
    else:
        panorama[:, :64] = LIT  # the first column lies behind the figure, the next ones to the picture's right
    terms = irradiance(panorama, 0.0)
    one = {"up": 1, "right": 3}[axis]
    np.testing.assert_allclose(terms[0], LIT / 2, rtol=1e-3)
    np.testing.assert_allclose(terms[one], LIT / 2, rtol=1e-3)
    assert np.abs(np.delete(terms, [0, one], 0)).max() < 2e-3


def test_turning_a_panorama_turns_its_light() -> None:
    panorama = np.zeros((64, 128, 3), np.float32)
    panorama[:, :64] = LIT
    np.testing.assert_allclose(irradiance(panorama, np.pi)[3], -LIT / 2, rtol=1e-3)
    np.testing.assert_allclose(irradiance(panorama, np.pi / 2)[2], LIT / 2, rtol=1e-3)  # now from the front


def test_a_scene_is_its_numbers(pack: Pack) -> None:
    a, b, other = draw_scene(pack, 3), draw_scene(pack, 3), draw_scene(pack, 4)
    np.testing.assert_array_equal(a.background, b.background)
    np.testing.assert_array_equal(a.light.around, b.light.around)
    assert not np.array_equal(a.background, other.background)
    assert a.background.shape == (256, 256, 3) and a.background.dtype == np.uint8
    np.testing.assert_allclose(np.linalg.norm(a.light.lamp_to, axis=1), 1, rtol=1e-5)


def test_a_camera_looks_at_its_point() -> None:
    centre, view, shift = np.array([0, 7.0, 1.0]), 0.4, np.array([0.2, -0.1])
    camera, eye = look_at(centre, 10.0, view, 0.3, shift)

    def seen(point: np.ndarray) -> np.ndarray:
        clip = camera @ [*point, 1]
        return np.asarray(clip[:2] / clip[3])

    np.testing.assert_allclose(seen(centre), shift, atol=1e-12)
    assert np.linalg.norm(eye - centre) == pytest.approx(10) and eye[1] > centre[1]
    # A point at the edge of the view, to the right, appears half a picture to the right.
    np.testing.assert_allclose(seen(centre + [10 * np.tan(view / 2), 0, 0]) - shift, [1, 0], atol=1e-12)
    near, far = (camera @ [*point, 1] for point in (centre + (eye - centre) * 0.5, centre - (eye - centre)))
    assert -1 < near[2] / near[3] < far[2] / far[3] < 1
