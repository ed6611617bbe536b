"""Drawn people-like puppets: our own synthetic clips, with ground truth, deterministic by seed.

An identity is proportions, colours, clothes, hair and a calm background; a clip is one identity in smooth motion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Array, Frame
from maskanim.spec import IMAGE_SIZE, MASK_SIZE

Split = Literal["train", "test"]
Points = NDArray[np.float64]
Colour = tuple[int, int, int]

FPS = 25
SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 pixel
CORE = 0.55  # share of a part's width that survives the perturbation's threshold

SIDES = ("left", "right")
LIMBS = ("upper_arm", "forearm", "hand", "thigh", "shin", "shoe")
PARTS = ("background", "hair", "head", "trunk", *(f"{side}_{limb}" for side in SIDES for limb in LIMBS))
# How bright each part's core and rim are in the figure map. The rims lie below the released code's threshold of
# 100/255 and the cores above it: what P_test takes away is width, hair and outline, which are the identity.
LEVELS = {"hair": (0.25, 0.25), "head": (0.70, 0.32), "trunk": (0.55, 0.35)} | {
    limb: (core, 0.35) for limb, core in zip(LIMBS, (0.90, 1.00, 1.00, 0.80, 0.90, 0.75), strict=True)
}

KEYPOINTS = (
    ("head", "neck")
    + ("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist")
    + ("left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle")
)  # fmt: skip
# A key-point is visible where the topmost part is one of its own, on its own side.
KEYPOINT_PARTS = dict(
    head=("head", "hair"), neck=("head", "hair", "trunk"), shoulder=("upper_arm", "trunk"),
    elbow=("upper_arm", "forearm"), wrist=("forearm", "hand"), hip=("thigh", "trunk"), knee=("thigh", "shin"),
    ankle=("shin", "shoe"),
)  # fmt: skip


class PuppetFrame(NamedTuple):
    """One drawn frame with its ground truth."""

    image: Frame  # (256, 256, 3) uint8 RGB
    parts: Frame  # (256, 256) uint8, the topmost part of each pixel as an index into PARTS; 0 is background
    figure_map: Array  # (64, 64) float32 in [0, 1], the soft mask that m may be warmed up on
    keypoints: Points  # (14, 2) float64, x and y in pixels, in the order of KEYPOINTS
    # (14,) bool, False where another part covers the key-point or it lies outside the picture
    visible: NDArray[np.bool_]

    @property
    def figure(self) -> NDArray[np.bool_]:
        """(256, 256) bool, the true foreground mask."""
        return self.parts > 0


class Shape(NamedTuple):
    """A filled polygon of one part, and the inner polygon that is its core."""

    part: int
    outline: Points
    core: Points | None
    colour: Colour


@dataclass(frozen=True)
class Identity:
    """What stays the same through a clip; lengths in pixels, colours RGB."""

    head: float
    shoulders: float
    hips: float
    trunk: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    arm_width: float
    leg_width: float
    skin: Colour
    hair: Colour
    top: Colour
    legs: Colour
    shoes: Colour
    sleeves: Literal["long", "short", "none"]
    trousers: Literal["long", "short"]
    hairstyle: Literal["short", "long", "bun", "bald"]
    pattern: Literal["plain", "band", "vest"]
    place: tuple[float, float]


class Puppet:
    """One identity and its endless smooth motion.

    Args:
        number: which identity; any non-negative integer.
        split: identities of ``train`` and ``test`` are drawn from disjoint random streams.
        seed: another seed is another population.
    """

    def __init__(self, number: int, split: Split = "train", seed: int = 0) -> None:
        rng = np.random.default_rng([seed, ("train", "test").index(split), number])
        self.background, calm = _draw_background(rng)
        self.identity = _draw_identity(rng, calm)
        self._motion = _Motion(rng)

    def frame(self, time: float) -> PuppetFrame:
        """The puppet at a time in seconds."""
        joints, lean = _pose(self.identity, self._motion, time)
        shapes = _shapes(self.identity, joints, lean)
        image, parts = self.background.copy(), np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        for shape in shapes:
            _fill(image, shape.outline, shape.colour, cv2.LINE_AA)
            _fill(parts, shape.outline, shape.part)
        keypoints = np.stack([joints[name] for name in KEYPOINTS])
        return PuppetFrame(image, parts, _paint_figure_map(shapes), keypoints, _visible(keypoints, parts))

    def clip(self, frames: int, fps: float = FPS) -> Iterator[PuppetFrame]:
        """The first `frames` frames of the motion."""
        for i in range(frames):
            yield self.frame(i / fps)


class _Motion:
    """Independent smooth oscillations, each in [-1, 1] and named by its place."""

    COUNT = 16

    def __init__(self, rng: np.random.Generator) -> None:
        self.rate = rng.uniform(0.15, 0.45, (2, self.COUNT))
        self.phase = rng.uniform(0, 2 * np.pi, (2, self.COUNT))

    def at(self, time: float) -> Points:
        inner = np.sin(2 * np.pi * self.rate[1] * time + self.phase[1])
        return np.sin(2 * np.pi * self.rate[0] * time + self.phase[0] + 0.8 * inner)


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    pixel = np.array([[[hue * 180 % 180, saturation * 255, value * 255]]]).astype(np.uint8)
    red, green, blue = (int(v) for v in cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0])
    return red, green, blue


def _distance(a: Colour | Points, b: Colour | Points) -> float:
    return float(np.abs(np.subtract(a, b)).mean())


def _draw_background(rng: np.random.Generator) -> tuple[Frame, Points]:
    """A calm scene: a smooth wall, a floor and a soft disc or two. Also returns its mean colour."""
    size = IMAGE_SIZE // 4  # everything in it is soft, so it is drawn small
    hue, value = rng.uniform(), rng.uniform(0.25, 0.95)
    wall = [_hsv(hue + rng.uniform(-0.05, 0.05), rng.uniform(0.1, 0.35), np.clip(value + d, 0, 1)) for d in (-0.1, 0.1)]
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    slant = (y + rng.uniform(-0.5, 0.5) * (x - 0.5))[..., None]
    scene = (1 - slant) * np.array(wall[0], float) + slant * np.array(wall[1], float)
    for _ in range(rng.integers(0, 3)):
        radius = np.hypot(*(axis - centre for axis, centre in zip((x, y), rng.uniform(0, 1, 2), strict=True)))
        scene += rng.uniform(-25, 25) / (1 + np.exp((radius - rng.uniform(0.1, 0.25)) * 40))[..., None]
    scene += rng.uniform(-40, -10) / (1 + np.exp((rng.uniform(0.82, 0.9) - y) * 120))[..., None]
    large = cv2.resize(scene, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_LINEAR)
    return np.clip(large, 0, 255).astype(np.uint8), scene.mean((0, 1))


def _draw_colour(rng: np.random.Generator, *unlike: Colour | Points) -> Colour:
    """A clothes colour that stands out from the given ones; the best of a few tries if none does."""
    tries = [_hsv(rng.uniform(), rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.95)) for _ in range(8)]
    return max(tries, key=lambda colour: min(min(_distance(colour, other) for other in unlike), 60))


def _draw_identity(rng: np.random.Generator, calm: Points) -> Identity:
    tall = rng.uniform(0.9, 1.08)
    skins = [_hsv(rng.uniform(0.03, 0.09), rng.uniform(0.3, 0.6), rng.uniform(0.45, 0.98)) for _ in range(5)]
    skin = max(skins, key=lambda colour: min(_distance(colour, calm), 60))
    top = _draw_colour(rng, calm, skin)
    return Identity(
        head=tall * rng.uniform(19, 25),
        shoulders=tall * rng.uniform(20, 29),
        hips=tall * rng.uniform(11, 18),
        trunk=tall * rng.uniform(62, 74),
        upper_arm=tall * rng.uniform(32, 38),
        forearm=tall * rng.uniform(28, 34),
        thigh=tall * rng.uniform(36, 43),
        shin=tall * rng.uniform(34, 41),
        arm_width=rng.uniform(11, 15),
        leg_width=rng.uniform(14, 19),
        skin=skin,
        hair=_hsv(rng.uniform(0, 0.12), rng.uniform(0.2, 0.9), rng.uniform(0.1, 0.75)),
        top=top,
        legs=_draw_colour(rng, calm, top),
        shoes=_draw_colour(rng, calm),
        sleeves=rng.choice(["long", "short", "none"]),
        trousers=rng.choice(["long", "short"], p=[0.7, 0.3]),
        hairstyle=rng.choice(["short", "long", "bun", "bald"], p=[0.4, 0.3, 0.2, 0.1]),
        pattern=rng.choice(["plain", "band", "vest"], p=[0.5, 0.25, 0.25]),
        place=(rng.uniform(118, 138), rng.uniform(142, 150)),
    )


def _direction(angle: float) -> Points:
    """A unit vector; 0 points down, a quarter turn points to larger x."""
    return np.array([np.sin(angle), np.cos(angle)])


def _pose(who: Identity, motion: _Motion, time: float) -> tuple[dict[str, Points], float]:
    """Where the joints are, in pixels, and the trunk's lean in radians."""
    s = motion.at(time)
    lean = 0.14 * s[0]
    pelvis = np.array(who.place) + (10 * s[1], 4 * s[2])
    across, up = np.array([np.cos(lean), np.sin(lean)]), np.array([np.sin(lean), -np.cos(lean)])
    neck = pelvis + who.trunk * up
    head_angle = lean + 0.25 * s[3]
    joints = {
        "pelvis": pelvis,
        "neck": neck,
        "head": neck + 1.15 * who.head * np.array([np.sin(head_angle), -np.cos(head_angle)]),
    }
    for side, sign, at in zip(SIDES, (-1, 1), (4, 10), strict=True):
        shoulder = neck + sign * (who.shoulders + 2) * across - 12 * up
        raised = 1.25 + 1.1 * s[at]
        elbow = shoulder + who.upper_arm * _direction(sign * raised - lean)
        bent = raised + 0.25 + 1.1 * s[at + 1]
        hip = pelvis + sign * 0.7 * who.hips * across
        stride = 0.2 + 0.28 * s[at + 2]
        knee = hip + who.thigh * _direction(sign * stride)
        joints |= {
            f"{side}_shoulder": shoulder,
            f"{side}_elbow": elbow,
            f"{side}_wrist": elbow + who.forearm * _direction(sign * bent - lean),
            f"{side}_hip": hip,
            f"{side}_knee": knee,
            f"{side}_ankle": knee + who.shin * _direction(sign * (stride - 0.2 - 0.2 * s[at + 3])),
        }
    return joints, head_angle


def _circle(centre: Points, radius: float, points: int = 16) -> Points:
    turns = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return centre + radius * np.stack([np.cos(turns), np.sin(turns)], 1)


def _capsule(a: Points, b: Points, width_a: float, width_b: float) -> Points:
    """The convex outline around two circles of the given diameters."""
    return _hull(np.concatenate([_circle(a, width_a / 2), _circle(b, width_b / 2)]))


def _hull(points: Points) -> Points:
    return cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)


def _limb(part: str, a: Points, b: Points, width_a: float, width_b: float, colour: Colour) -> Shape:
    core = _capsule(a, b, CORE * width_a, CORE * width_b)
    return Shape(PARTS.index(part), _capsule(a, b, width_a, width_b), core, colour)


def _disc(part: str, centre: Points, radius: float, colour: Colour) -> Shape:
    return Shape(PARTS.index(part), _circle(centre, radius, 24), _circle(centre, CORE * radius, 24), colour)


def _shapes(who: Identity, joints: dict[str, Points], head_angle: float) -> list[Shape]:
    """The figure as polygons, from the back to the front."""
    return [
        *_hair_behind(who, joints, head_angle),
        *_leg(who, joints, "left"),
        *_leg(who, joints, "right"),
        *_trunk(who, joints),
        *_head(who, joints, head_angle),
        *_arm(who, joints, "left"),
        *_arm(who, joints, "right"),
    ]


def _leg(who: Identity, joints: dict[str, Points], side: str) -> list[Shape]:
    hip, knee, ankle = (joints[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
    wide, narrow = 1.2 * who.leg_width, 0.8 * who.leg_width
    toes = ankle + ((-1 if side == "left" else 1) * 8, 3)
    return [
        _limb(f"{side}_shoe", ankle, toes, 14, 10, who.shoes),
        _limb(f"{side}_shin", knee, ankle, who.leg_width, narrow, who.legs if who.trousers == "long" else who.skin),
        _limb(f"{side}_thigh", hip, knee, wide, who.leg_width, who.legs),
    ]


def _arm(who: Identity, joints: dict[str, Points], side: str) -> list[Shape]:
    shoulder, elbow, wrist = (joints[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist"))
    sleeve = _shade(who.top, 0.85)
    return [
        _limb(f"{side}_upper_arm", shoulder, elbow, 1.2 * who.arm_width, who.arm_width,
              who.skin if who.sleeves == "none" else sleeve),
        _limb(f"{side}_forearm", elbow, wrist, who.arm_width, 0.8 * who.arm_width,
              sleeve if who.sleeves == "long" else who.skin),
        _disc(f"{side}_hand", wrist, 0.62 * who.arm_width, who.skin),
    ]  # fmt: skip


def _trunk(who: Identity, joints: dict[str, Points]) -> list[Shape]:
    neck, pelvis = joints["neck"], joints["pelvis"]
    across = joints["right_shoulder"] - joints["left_shoulder"]
    across = across / np.linalg.norm(across)
    down = np.array([-across[1], across[0]])

    def body(share: float) -> Points:
        rows = ((neck + 12 * down, who.shoulders, 9.0), (pelvis, who.hips, 10.0))
        circles = [_circle(row + side * share * half * across, share * r) for row, half, r in rows for side in (-1, 1)]
        return _hull(np.concatenate(circles))

    def stripe(centre: Points, half_width: float, half_height: float) -> Points:
        corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        return np.stack([centre + x * half_width * across + y * half_height * down for x, y in corners])

    index = PARTS.index("trunk")
    middle = (neck + pelvis) / 2
    shapes = [
        _limb("head", neck + 8 * down, joints["head"], 15, 15, _shade(who.skin, 0.85)),
        Shape(index, body(1.0), body(CORE), who.top),
    ]
    if who.pattern == "band":
        shapes.append(Shape(index, stripe(middle, 0.5 * (who.shoulders + who.hips) + 8, 7), None, _contrast(who.top)))
    if who.pattern == "vest":
        shapes.append(Shape(index, stripe(middle + 4 * down, 7, 0.5 * who.trunk), None, _contrast(who.top)))
    return shapes


def _hair_behind(who: Identity, joints: dict[str, Points], angle: float) -> list[Shape]:
    head, up, r = joints["head"], np.array([np.sin(angle), -np.cos(angle)]), who.head
    if who.hairstyle == "long":
        return [_hair(_capsule(head + 0.15 * r * up, head - 1.5 * r * up, 2.3 * r, 2.0 * r), who)]
    if who.hairstyle == "bun":
        return [_hair(_circle(head + 1.25 * r * up, 0.5 * r), who)]
    return []


def _head(who: Identity, joints: dict[str, Points], angle: float) -> list[Shape]:
    head, r = joints["head"], who.head
    up, right = np.array([np.sin(angle), -np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])
    shapes = [_disc("head", head, r, who.skin)]
    if who.hairstyle != "bald":
        turns = np.linspace(0.08 * np.pi, 0.92 * np.pi, 14)
        arc = [head + 1.08 * r * (np.cos(t) * right + np.sin(t) * up) for t in turns]
        fringe = [head + 0.85 * r * np.cos(t) * right + 0.35 * r * up for t in reversed(turns[2:-2])]
        shapes.append(_hair(np.stack(arc + fringe), who))
    index = PARTS.index("head")
    for sign in (-1, 1):
        eye = _circle(head + sign * 0.38 * r * right + 0.05 * r * up, 0.11 * r, 10)
        shapes.append(Shape(index, eye, None, (30, 25, 30)))
    mouth = _capsule(head - 0.25 * r * right - 0.45 * r * up, head + 0.25 * r * right - 0.45 * r * up, 2.4, 2.4)
    return [*shapes, Shape(index, mouth, None, (150, 50, 55))]


def _hair(outline: Points, who: Identity) -> Shape:
    return Shape(PARTS.index("hair"), outline, None, who.hair)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(factor * v) for v in colour)
    return red, green, blue


def _contrast(colour: Colour) -> Colour:
    """A lighter version of a dark colour, a darker one of a light colour."""
    red, green, blue = (v + 80 if sum(colour) < 360 else v - 80 for v in colour)
    return max(0, min(255, red)), max(0, min(255, green)), max(0, min(255, blue))


def _fill(canvas: Frame, outline: Points, colour: Colour | int, line: int = cv2.LINE_8) -> None:
    """Fill a polygon, given in pixels of 256, on a square canvas of any size; pixel centres stay pixel centres."""
    scaled = (outline + 0.5) * (len(canvas) / IMAGE_SIZE) - 0.5
    cv2.fillPoly(canvas, [np.round(scaled * 2**SUBPIXEL_BITS).astype(np.int32)], colour, line, SUBPIXEL_BITS)


def _paint_figure_map(shapes: list[Shape]) -> Array:
    """Rims first within each part, cores over them; drawn at 128 and averaged down to 64."""
    levels = np.zeros((2 * MASK_SIZE, 2 * MASK_SIZE), np.uint8)
    for shape in shapes:
        core, rim = LEVELS[_without_side(PARTS[shape.part])]
        if shape.core is not None or PARTS[shape.part] == "hair":
            _fill(levels, shape.outline, int(255 * rim))
        if shape.core is not None:
            _fill(levels, shape.core, int(255 * core))
    return cv2.resize(levels, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _visible(keypoints: Points, parts: Frame) -> NDArray[np.bool_]:
    visible = np.zeros(len(KEYPOINTS), bool)
    for i, (name, (x, y)) in enumerate(zip(KEYPOINTS, np.round(keypoints).astype(int), strict=True)):
        if 0 <= x < IMAGE_SIZE and 0 <= y < IMAGE_SIZE:
            visible[i] = PARTS[parts[y, x]] in _parts_of(name)
    return visible


def _without_side(name: str) -> str:
    return name.removeprefix("left_").removeprefix("right_")


def _parts_of(keypoint: str) -> set[str]:
    """The parts at a key-point, those without a side and those of its own."""
    names = KEYPOINT_PARTS[_without_side(keypoint)]
    side = keypoint.removesuffix(_without_side(keypoint))
    return {name if name in PARTS else side + name for name in names}
