"""Light, background and camera: what a clip keeps."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Frame
from maskanim.spec import IMAGE_SIZE
from maskanim.train.people.assets import Floats, Pack, decode
from maskanim.train.people.person import SPLITS, Split, available
from maskanim.train.people.render import Light, irradiance

PANORAMA_SHARE = 0.65  # of the clips; others have a gradient or blurred noise behind them


class Scene(NamedTuple):
    """What is around a figure."""

    background: Frame  # (256, 256, 3) uint8 RGB
    light: Light  # what shines on it


def draw_scene(pack: Pack, number: int, split: Split = "train", seed: int = 0) -> Scene:
    """A scene: the same for the same numbers. Test scenes have panoramas of their own."""
    rng = np.random.default_rng([seed, SPLITS.index(split), number, 1])
    turn = rng.uniform(0, 2 * np.pi)
    keys = available((key for key in pack.textures if key.startswith("backgrounds/")), split)
    around = np.full((9, 3), 0, np.float32)
    around[0] = rng.uniform(0.25, 0.6)
    around[1] = rng.uniform(0.0, 0.2)
    background = _plain(rng)
    if keys and rng.uniform() < PANORAMA_SHARE:
        panorama = decode(pack.textures[str(rng.choice(keys))])[..., :3].astype(np.float32) / np.float32(255)
        background = _view(rng, panorama, turn)
        small = cv2.resize(panorama, (64, 32), interpolation=cv2.INTER_AREA) ** 2.2
        around = irradiance(small, turn)
        around *= np.float32(rng.uniform(0.35, 0.6) / max(1e-3, float(around[0].mean())))
        mean = around.mean(1, keepdims=True)
        around = mean + rng.uniform(0.3, 0.9) * (around - mean)
    return Scene(background, Light(around, *_lamps(rng)))


def _lamps(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A key light from the front or a side, and a weaker one from anywhere."""
    yaw, pitch = rng.normal(0, [0.9, 1.6]), rng.normal([0.5, 0.2], [0.35, 0.5])
    to = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)], 1)
    strength = np.array([rng.uniform(0.2, 0.7), rng.uniform(0.0, 0.3)])
    warmth = rng.normal(0, 0.08, (2, 1)) * np.array([1, 0, -1])
    return to.astype(np.float32), (strength[:, None] * (1 + warmth)).astype(np.float32)


def _plain(rng: np.random.Generator) -> Frame:
    """A gradient, or noise of one of several scales, blurred."""
    cells = int(rng.choice([2, 2, 3, 4, 7]))
    small = rng.uniform(0, 1, (cells, cells, 3)) * rng.uniform(0.1, 0.6) + rng.uniform(0, 0.6, 3)
    large = cv2.resize(small.astype(np.float32), (IMAGE_SIZE,) * 2, interpolation=cv2.INTER_CUBIC)
    return np.clip(255 * large, 0, 255).astype(np.uint8)


def _view(rng: np.random.Generator, panorama: Floats, turn: float) -> Frame:
    """What a camera that looks past the figure's back sees, more or less in focus."""
    half = np.tan(np.deg2rad(rng.uniform(20, 60)) / 2)
    x, y = np.meshgrid(*[np.linspace(-half, half, IMAGE_SIZE)] * 2)
    ray = np.stack([x, -y - rng.normal(0, 0.1), -np.ones_like(x)])
    ray /= np.linalg.norm(ray, axis=0)
    height, width = panorama.shape[:2]
    phi = np.arctan2(ray[0], -ray[2]) - turn
    column = (phi / (2 * np.pi) % 1) * width - 0.5
    row = np.arccos(np.clip(ray[1], -1, 1)) / np.pi * height - 0.5
    seen = cv2.remap(
        panorama, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    blur = rng.uniform(0.5, 6)
    seen = cv2.GaussianBlur(seen, (0, 0), blur) * rng.uniform(0.5, 1.1)
    return np.clip(255 * seen, 0, 255).astype(np.uint8)


def look_at(
    centre: NDArray[np.float64], distance: float, view: float, rise: float, shift: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A camera in front of a point.

    Args:
        centre: (3,), what it looks at.
        distance: from there.
        view: angle of view, radians.
        rise: how high it stands, radians.
        shift: where the point appears, right and up, in half pictures.

    Returns:
        The (4, 4) matrix to clip space, and the (3,) place of the camera.
    """
    back = np.array([0, np.sin(rise), np.cos(rise)])
    eye = centre + distance * back
    up = np.array([0, np.cos(rise), -np.sin(rise)])
    rotation = np.stack([np.array([1.0, 0, 0]), up, back])
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = rotation, -rotation @ eye
    near, far, scale = 0.3 * distance, 3 * distance, 1 / np.tan(view / 2)
    lens = np.array(
        [
            [scale, 0, -shift[0], 0],
            [0, scale, -shift[1], 0],
            [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, -1, 0],
        ]
    )
    return lens @ world, eye
