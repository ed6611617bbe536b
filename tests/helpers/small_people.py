"""A folder in MakeHuman's formats with a figure of some hundred vertices: a ball for a head on a box for a body.

The ball's radius is 1 dm and its middle is 7 dm up. The 68 landmarks have the numbers that they have in the real mesh
and lie on the ball's front; what is between those numbers belongs to no face.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.train.people.clip import LANDMARKS
from maskanim.train.people.motion import EXPRESSIONS

MIDDLE = np.array([0, 7.0, 0])
RINGS, SEGMENTS = 9, 16
BALL = 14_000  # the first vertex; below are the landmarks
BOX = BALL + RINGS * SEGMENTS
EYES = {"l": BOX + 8, "r": BOX + 14}  # octahedra
JOINTS = BOX + 20
JOINT_HEIGHTS = {"root": 1.0, "neck01": 5.7, "neck02": 5.8, "neck03": 5.9, "head": 6.0, "jaw": 6.5}
COUNT = JOINTS + len(JOINT_HEIGHTS)
LOWER_LIP = (55, 56, 57, 58, 59, 65, 66, 67)
SCALES = f"x_scale {EYES['l']} {EYES['r']} 0.6\ny_scale {BOX} {BOX + 4} 3\nz_scale {BOX} {BOX + 2} 1\n"


def face() -> NDArray[np.float64]:
    """(68, 2): the landmarks seen from the front, in radii of the ball; x to the picture's right, y up."""

    def arc(
        count: int, x: float, y: float, width: float, height: float, start: float, end: float
    ) -> NDArray[np.float64]:
        at = np.radians(np.linspace(start, end, count))
        return np.stack([x + width * np.cos(at), y + height * np.sin(at)], 1)

    brows = [arc(5, x, 0.3, 0.2, 0.1, 170, 10) for x in (-0.3, 0.3)]
    nose = [np.stack([np.zeros(4), np.linspace(0.2, -0.05, 4)], 1), arc(5, 0, -0.15, 0.12, 0.04, 180, 360)]
    eyes = [arc(6, x, 0.15, 0.15, 0.08, 180, -120) for x in (-0.3, 0.3)]
    lips = [arc(12, 0, -0.45, 0.25, 0.12, 180, -150), arc(8, 0, -0.45, 0.2, 0.04, 180, -135)]
    return np.concatenate([arc(17, 0, 0, 0.8, 0.85, 180, 360), *brows, *nose, *eyes, *lips])


def vertices() -> NDArray[np.float64]:
    """(COUNT, 3), decimetres."""
    at = np.zeros((COUNT, 3))
    x, y = face().T
    at[list(LANDMARKS)] = np.stack([x, y, np.sqrt(1.001 - x * x - y * y)], 1) + MIDDLE
    up, around = np.meshgrid(
        np.radians(np.linspace(-80, 80, RINGS)), np.arange(SEGMENTS) * 2 * np.pi / SEGMENTS, indexing="ij"
    )
    ball = np.stack([np.cos(up) * np.sin(around), np.sin(up), np.cos(up) * np.cos(around)], -1)
    at[BALL:BOX] = ball.reshape(-1, 3) + MIDDLE
    at[BOX : BOX + 8] = [(x, y, z) for y in (0, 3) for z in (-0.5, 0.5) for x in (-1, 1)]
    corners = 0.12 * np.concatenate([np.eye(3), -np.eye(3)])
    for side, x in (("l", 0.3), ("r", -0.3)):
        at[EYES[side] : EYES[side] + 6] = corners + MIDDLE + (x, 0.15, 0.95)
    at[JOINTS:, 1] = list(JOINT_HEIGHTS.values())
    return at


def groups() -> dict[str, list[tuple[int, ...]]]:
    """Faces, of vertices counted from 0, anticlockwise from outside."""
    ball = [
        (BALL + SEGMENTS * i + j, BALL + SEGMENTS * i + k, BALL + SEGMENTS * (i + 1) + k, BALL + SEGMENTS * (i + 1) + j)
        for i in range(RINGS - 1)
        for j, k in ((j, (j + 1) % SEGMENTS) for j in range(SEGMENTS))
    ]
    marks = list(zip(LANDMARKS, LANDMARKS[1:], LANDMARKS[2:], strict=False))
    box = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    eye = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    result: dict[str, list[tuple[int, ...]]] = {
        "body": [*ball, *marks, *(tuple(BOX + i for i in each) for each in box)]
    }
    for side, first in EYES.items():
        result[f"helper-{side}-eye"] = [tuple(first + i for i in each) for each in eye]
    joint = tuple(range(JOINTS, JOINTS + 4))
    return result | {"joint-all": [joint]}


def write_standin(folder: Path) -> Path:
    """Write all of it; 30 ms."""
    at = vertices()
    _write(folder / "3dobjs/base.obj", _obj(at, groups()))
    _write_targets(folder / "targets", at)
    _write_rig(folder / "rigs")
    cap = [BALL + SEGMENTS * (RINGS - 2) + 4 * i for i in range(4)]
    for name in ("afro01", "short02", "short04"):
        _write_proxy(
            folder / "hair" / name, [f"{cap[0]} {cap[1]} {cap[2]} 0.5 0.25 0.25 0 0.1 0", *map(str, cap[1:])], ""
        )
    box = [str(BOX + i) for i in (4, 5, 7, 6)]
    _write_proxy(folder / "clothes/male_suit01", box, f"delete_verts\n{BOX} - {BOX + 3}\n")
    for side, name in enumerate(
        ("young_lightskinned_male_diffuse", "young_lightskinned_male_diffuse3", "old_darkskinned_female_diffuse")
    ):
        _picture(folder / f"skins/textures/{name}.png", (230 - 60 * side, 180 - 50 * side, 150 - 40 * side))
    _picture(folder / "eyes/materials/brown.png", (120, 80, 60))
    for name, box_of in (("mpfb_lips", (0.25, 0.13)), ("mpfb_inside-mouth", (0.1, 0.03))):
        _picture(folder / f"textures/{name}.jpg", (0, 0, 0), box_of)
    for name, colour in (("park", (90, 140, 90)), ("street", (150, 150, 170))):
        _picture(folder / f"backgrounds/{name}.jpg", colour)
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _obj(at: NDArray[np.float64], groups: dict[str, list[tuple[int, ...]]]) -> str:
    """The uvs are the view from the front, two decimetres about the head's middle."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in at]
    uvs = np.clip((at[:, :2] - MIDDLE[:2]) / 2 + 0.5, 0, 1)
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in uvs]
    for name, faces in groups.items():
        lines += [f"g {name}", *("f " + " ".join(f"{i + 1}/{i + 1}" for i in each) for each in faces)]
    return "\n".join(["# a comment", *lines, ""])


def _write_targets(folder: Path, at: NDArray[np.float64]) -> None:
    ball = range(BALL, BOX)
    macros = [
        f"{race}-{sex}-{age}"
        for race in ("african", "asian", "caucasian")
        for sex in ("female", "male")
        for age in ("young", "old")
    ]
    for i, name in enumerate(macros):
        _target(folder / "macrodetails" / name, ball, 0.02 * i * (at[BALL:BOX] - MIDDLE))
    for name in ("l-ear-big", "r-ear-big", "ear-trans-in"):
        _target(folder / "ears" / name, ball[:1], np.ones((1, 3)))
    lip, lids = [LANDMARKS[i] for i in LOWER_LIP], {"Left": (46, 47), "Right": (40, 41)}
    for name in (name.removeprefix("arkit/") for name in EXPRESSIONS):
        moved: Sequence[int] = lip[:1]
        by = np.array([[0, 0.001, 0]])
        if name == "jawOpen":
            moved, by = lip, np.tile([0, -0.2, 0], (len(lip), 1))
        elif name.startswith("eyeBlink"):
            moved, by = [LANDMARKS[i] for i in lids[name.removeprefix("eyeBlink")]], np.tile([0, 0.13, 0], (2, 1))
        _target(folder / "arkit" / name, moved, by)


def _target(path: Path, moved: Sequence[int], by: NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{i} {x:.5f} {y:.5f} {z:.5f}" for i, (x, y, z) in zip(moved, by, strict=True)]
    path.with_name(path.name + ".target.gz").write_bytes(gzip.compress("\n".join(["# a comment", *lines]).encode()))


def _write_rig(folder: Path) -> None:
    names = list(JOINT_HEIGHTS)
    joints = {f"{name}____head": [JOINTS + i] for i, name in enumerate(names)}
    joints |= {f"eye.{side.upper()}____head": list(range(first, first + 6)) for side, first in EYES.items()}
    parents: dict[str, str | None] = dict(zip(names, [None, *names], strict=False))
    parents |= {"eye.L": "head", "eye.R": "head"}
    # Children first: a reader may not rely on the order.
    bones = {
        name: {"head": f"{name}____head", "tail": f"{name}____head", "parent": parents[name]}
        for name in reversed(parents)
    }
    _write(folder / "default.mhskel", json.dumps({"bones": bones, "joints": joints}))
    head = [*range(BALL, BOX), *sorted(LANDMARKS)]
    jaw = {LANDMARKS[i] for i in LOWER_LIP}
    weights = {"head": [[i, 0.25 if i in jaw else 1.0] for i in head], "jaw": [[i, 0.75] for i in sorted(jaw)]}
    weights["root"] = [[BOX + i, 1.0] for i in range(8)]
    _write(folder / "default_weights.mhw", json.dumps({"weights": weights}))


def _write_proxy(folder: Path, rows: list[str], hides: str) -> None:
    """A square whose corners follow the body."""
    name = folder.name
    square = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0.0)])
    _write(folder / f"{name}.obj", _obj(square, {"all": [(0, 1, 2, 3)]}))
    _write(folder / f"{name}.mhmat", "# a material\nname a\ndiffuseTexture cloth.png\n")
    # The picture may have another suffix than the material says.
    _picture(folder / "cloth.jpg", (160, 120, 80))
    text = f"# a comment\nbasemesh hm08\nobj_file {name}.obj\n{SCALES}material {name}.mhmat\nverts 0\n"
    _write(folder / f"{name}.mhclo", text + "\n".join([*rows, hides]))


def _picture(path: Path, colour: Sequence[int], bright: tuple[float, float] | None = None) -> None:
    """(64, 128, 3) of a colour; `bright`: white in a rectangle of that half size where the mouth is, in radii."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((128, 128, 3), colour, np.uint8)
    if bright is not None:
        x, y = (np.arange(128) + 0.5) / 64 - 1, 1 - (np.arange(128) + 0.5) / 64
        pixels[(abs(y + 0.45) < bright[1])[:, None] & (abs(x) < bright[0])] = 255
    cv2.imwrite(str(path), pixels[..., ::-1])
