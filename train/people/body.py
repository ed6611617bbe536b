"""How a body moves: slowly from pose to pose of the assets, with the head and the face of a `HeadMotion`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError
from maskanim.train.people.assets import Floats
from maskanim.train.people.motion import HeadMotion, Waves

Turns = dict[str, NDArray[np.float64]]

# The 17 key-points of COCO, in its order: the nose, the eyes, the ears, then the left and the right of each joint.
FACE_POINTS = (30, 45, 36, 16, 0)  # of the 68 landmarks: nose, outer corners of the eyes, where the jaw meets the ears
JOINT_BONES = tuple(
    f"{bone}.{side}"
    for bone in ("upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot")
    for side in ("L", "R")
)
# Poses that people take while they stand; the others fly, sit or lie.
STANDING = ("standing", "fight", "run")
# Bones that never rest quite, and by how many radians.
RESTLESS = {"root": 0.06, "spine03": 0.05, "spine01": 0.05} | {
    f"{bone}.{side}": size
    for bone, size in (("upperarm01", 0.14), ("lowerarm01", 0.12), ("upperleg01", 0.05), ("lowerleg01", 0.04))
    for side in ("L", "R")
}
POSE_SECONDS = 2.6  # from one pose to the next
FACING = 0.7  # radians to either side, at most, that a whole body turns
# The files of poses have z up and the figure looking along -y.
_UPRIGHT = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)


class BodyPose(NamedTuple):
    """A body at one moment."""

    turns: Turns  # see `Skeleton.matrices`
    expression: Floats  # (expressions,) float32 weights
    shift: NDArray[np.float64]  # how far the body is off the picture's middle, right and up, in body heights
    zoom: float  # body heights that a picture is high
    view: float  # the camera's angle of view, radians
    rise: float  # how high the camera stands, radians


def read_pose(name: str, text: str) -> Turns:
    """The first frame of a BVH file, as rotations of its bones in the axes of the base mesh.

    Args:
        name: of the pose, for errors.
        text: the file's.

    Raises:
        MaskanimError: its numbers are not those that its channels ask for.
    """
    head, _, motion = text.partition("MOTION")
    channels: list[tuple[str, str]] = []
    bone = ""
    for words in map(str.split, head.splitlines()):
        if words and words[0] in ("ROOT", "JOINT"):
            bone = words[1]
        elif words and words[0] == "CHANNELS":
            channels += [(bone, channel) for channel in words[2:]]
    values = motion.strip().splitlines()[2].split() if motion.count("\n") > 2 else []
    if not channels or len(values) != len(channels):
        raise MaskanimError(f"the pose {name}", f"{len(values)} numbers", f"the {len(channels)} of its channels")
    turns: Turns = {}
    for (bone, channel), value in zip(channels, values, strict=True):
        if channel.endswith("rotation"):
            about = np.radians(float(value)) * np.eye(3)["XYZ".index(channel[0])]
            turns[bone] = turns.get(bone, np.eye(3)) @ cv2.Rodrigues(_UPRIGHT @ about)[0]
    return turns


def between(a: NDArray[np.float64], b: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The rotation on the shortest way from one to another: what quaternions' spherical interpolation gives."""
    way = cv2.Rodrigues(a.T @ b)[0]
    return np.asarray(a @ cv2.Rodrigues(share * way)[0], np.float64)


class BodyMotion:
    """An endless motion of a body, drawn from a seed.

    Args:
        seed: non-negative integers; others make another motion.
        poses: by name, see `read_pose`; those of people who stand are taken where there are some.
    """

    def __init__(self, seed: list[int], poses: Mapping[str, Turns]) -> None:
        rng = np.random.default_rng([*seed, 5])
        self._seed, self._face = seed, HeadMotion(seed)
        names = sorted(poses)
        self._poses = [poses[name] for name in names if name.startswith(STANDING)] or [poses[name] for name in names]
        self._noise = Waves(rng, 3 * len(RESTLESS), 0.05, 0.4)
        self._place = Waves(rng, 4, 0.03, 0.15)
        self._facing, self._phase = rng.uniform(-0.3, 0.3), rng.uniform(0, 10)
        self._zoom, self._view, self._rise = rng.uniform(1.2, 1.5), np.deg2rad(rng.uniform(20, 40)), rng.normal(0, 0.04)

    def at(self, time: float) -> BodyPose:
        """The pose at a time in seconds."""
        face, place = self._face.at(time), self._place.at(time)
        turns = self._between_poses(time)
        noise = self._noise.at(time).reshape(-1, 3)
        for (bone, size), about in zip(RESTLESS.items(), noise, strict=True):
            turns[bone] = turns.get(bone, np.eye(3)) @ cv2.Rodrigues(size * about)[0]
        facing = float(np.clip(self._facing + 0.8 * place[0], -1, 1)) * FACING
        turns["root"] = cv2.Rodrigues(np.array([0, facing, 0]))[0] @ turns["root"]
        yaw, pitch, roll = 0.5 * face.neck
        turns["head"] = turns.get("head", np.eye(3)) @ cv2.Rodrigues(np.array([pitch, yaw, roll]))[0]
        for bone in ("eye.L", "eye.R"):
            turns[bone] = cv2.Rodrigues(np.array([face.gaze[1], face.gaze[0], 0]))[0]
        zoom = self._zoom * (1 + 0.04 * place[3])
        return BodyPose(turns, face.expression, 0.04 * place[1:3], zoom, self._view, self._rise)

    def _between_poses(self, time: float) -> Turns:
        if not self._poses:
            return {}
        step, part = divmod(time / POSE_SECONDS + self._phase, 1.0)
        before, after = (
            self._poses[int(np.random.default_rng([*self._seed, 6, int(step) + i]).integers(len(self._poses)))]
            for i in (0, 1)
        )
        share = part * part * (3 - 2 * part)
        still = np.eye(3)
        return {bone: between(before.get(bone, still), after.get(bone, still), share) for bone in {**before, **after}}
