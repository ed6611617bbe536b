"""A person in motion in a scene: frames with their ground truth, and the same motion on another person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.ops import Array, Frame
from maskanim.spec import IMAGE_SIZE, MASK_SIZE
from maskanim.train.people.assets import Floats, Pack
from maskanim.train.people.body import FACE_POINTS, JOINT_BONES, BodyMotion, BodyPose, Turns, read_pose
from maskanim.train.people.figure import Anatomy, Framing
from maskanim.train.people.motion import EXPRESSIONS, HeadMotion, HeadPose
from maskanim.train.people.person import SPLITS, Person, Split, draw_person
from maskanim.train.people.render import Renderer
from maskanim.train.people.scene import Scene, draw_scene, look_at

# The 68 points of the face that the field counts (jaw, brows, nose, eyes, lips), as vertices of the base mesh: those
# nearest to MediaPipe's on fifty frontal faces, made the same on both sides.
LANDMARKS = (
    5754, 5201, 5092, 5238, 736, 749, 5297, 5222, 5225, 11832, 11902, 7468, 7456, 11847, 11707, 11812, 12351,
    254, 207, 206, 205, 208, 6983, 6980, 6981, 6982, 7023, 132, 131, 201, 294, 344, 314, 317, 7077, 7105,
    25, 6, 54, 69, 6772, 6776, 6853, 6838, 6790, 6809, 13372, 13368, 424, 5354, 456, 466, 7215, 11956, 7184, 7239, 7245,
    492, 490, 484, 416, 462, 468, 7221, 7176, 7242, 493, 487,
)  # fmt: skip
INNER = slice(17, None)  # brows, nose, eyes and lips
NASION = 27 - INNER.start  # between the eyes
# A head from chin to crown, and its middle above that of the inner points, over their root mean square distance from
# it: means of 150 identities, so that at zoom 1 a head fills the picture on average.
HEAD_HEIGHT, RAISED = 5.15, 0.74
Pose = HeadPose | BodyPose
NECK = ("neck01", "neck02", "neck03", "head")  # each takes its share of a turn


_Truth = tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64], NDArray[np.float64] | None]


class PersonFrame(NamedTuple):
    """One picture with its ground truth."""

    image: Frame  # (256, 256, 3) uint8 RGB
    figure_map: Array  # (64, 64) float32 in [0, 1], the soft mask that m may be warmed up on
    foreground: Floats  # (256, 256) float32 in [0, 1], how much of each pixel the person covers
    landmarks: NDArray[np.float64]  # (68, 2) float64, x and y in pixels of 256
    # (3,) float64, yaw, pitch and roll of the head to the camera, degrees; positive is to the picture's right, down,
    # and clockwise
    angles: NDArray[np.float64]
    mouth: float  # how far the lips are apart, over the distance of the eyes' outer corners
    lids: NDArray[np.float64]  # (2,) float64, how far either eye is open, over its width; the picture's left one first
    keypoints: NDArray[np.float64] | None = None  # of bodies, (17, 2) float64 in COCO's order, as the landmarks


class Studio:
    """Draws people: the assets, what all figures share, and an OpenGL context.

    Args:
        pack: the assets.
        framing: ``head``, as VoxCeleb's crops, or ``body``, whole figures as Tai-Chi-HD's.
    """

    def __init__(self, pack: Pack, framing: Framing = "head") -> None:
        self.pack = pack
        self.poses = {name: read_pose(name, text) for name, text in pack.poses.items()} if framing == "body" else {}
        self.anatomy = Anatomy(pack, framing, EXPRESSIONS)
        self.renderer = Renderer(pack)

    def person(self, number: int, split: Split = "train", seed: int = 0) -> Person:
        """See `draw_person`."""
        return draw_person(self.anatomy, number, split, seed)

    def scene(self, number: int, split: Split = "train", seed: int = 0) -> Scene:
        """See `draw_scene`."""
        return draw_scene(self.pack, number, split, seed)

    def motion(self, number: int, split: Split = "train", seed: int = 0) -> HeadMotion | BodyMotion:
        """The motion that goes with an identity's number."""
        if self.anatomy.framing == "body":
            return BodyMotion([seed, SPLITS.index(split), number, 2], self.poses)
        return motion_of(number, split, seed)

    def frame(self, person: Person, scene: Scene, pose: Pose) -> PersonFrame:
        """A person in a scene in a pose."""
        return self.frames(person, scene, [pose])[0]

    def frames(self, person: Person, scene: Scene, poses: Sequence[Pose]) -> list[PersonFrame]:
        """A person in a scene in some poses: all are drawn before the first is read."""
        frames = []
        with self.renderer.context:  # another studio of the process may have drawn since
            truths = [self._draw(slot, person, scene, pose) for slot, pose in enumerate(poses)]
            for slot, truth in enumerate(truths):
                drawn = self.renderer.read(slot, scene.background)
                small = cv2.resize(drawn.figure, (MASK_SIZE,) * 2, interpolation=cv2.INTER_AREA)
                frames.append(PersonFrame(drawn.image, small, drawn.foreground, *truth))
        return frames

    def _draw(self, slot: int, person: Person, scene: Scene, pose: Pose) -> _Truth:
        figure = person.figure
        turns = pose.turns if isinstance(pose, BodyPose) else _turns(pose)
        points, normals = figure.posed(pose.expression, turns)
        centre, height = _body(person, points) if isinstance(pose, BodyPose) else _head(person)
        distance = pose.zoom * height / 2 / np.tan(pose.view / 2)
        camera, eye = look_at(centre, distance, pose.view, pose.rise, 2 * pose.shift / pose.zoom)
        self.renderer.draw(slot, figure, points, normals, person.looks, scene.light, camera, eye)
        face = points[figure.base_points[np.array(LANDMARKS)]].astype(np.float64)
        if not isinstance(pose, BodyPose):
            return *_truth(face, camera, rotation(*pose.shoulders) @ rotation(*pose.neck), pose.rise), None
        places, rotations = figure.posed_bones((*JOINT_BONES, "head"), turns)
        keypoints = np.concatenate([face[list(FACE_POINTS)], places[:-1]])
        return *_truth(face, camera, rotations[-1].astype(np.float64), pose.rise), _seen(keypoints, camera)


def motion_of(number: int, split: Split = "train", seed: int = 0) -> HeadMotion:
    """The motion that goes with an identity's number."""
    return HeadMotion([seed, SPLITS.index(split), number, 2])


def _turns(pose: HeadPose) -> Turns:
    """Rotations of the bones."""
    neck, shoulders = rotation(*pose.neck), rotation(*pose.shoulders)
    share = np.asarray(cv2.Rodrigues(cv2.Rodrigues(neck)[0] / len(NECK))[0], np.float64)
    turns = {bone: share for bone in NECK} | {"root": shoulders}
    yaw, pitch = pose.gaze
    turns |= {bone: rotation(yaw, pitch, 0) for bone in ("eye.L", "eye.R")}
    return turns


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """(3, 3): first roll, then pitch, then yaw, radians, about z, x and y."""
    about = ((0, 0, roll), (pitch, 0, 0), (0, yaw, 0))
    z, x, y = (cv2.Rodrigues(np.array(axis, float))[0] for axis in about)
    result: NDArray[np.float64] = y @ x @ z
    return result


def _head(person: Person) -> tuple[NDArray[np.float64], float]:
    """The point that the camera looks at while the head rests, and the height that fills it at zoom 1, decimetres.

    Both go by the face's inner points, as face detectors frame it: two people who move alike then have their faces in
    the same place, whatever their skulls and chins are.
    """
    figure = person.figure
    face = figure.rest[figure.base_points[np.array(LANDMARKS[INNER])]].astype(np.float64)
    middle = face.mean(0)
    spread = float(np.sqrt(((face - middle)[:, :2] ** 2).sum(1).mean()))
    return np.array([0, middle[1] + RAISED * spread, face[NASION, 2]]), HEAD_HEIGHT * spread


def _body(person: Person, points: Floats) -> tuple[NDArray[np.float64], float]:
    """The middle of a standing body whose lowest point is on the ground, and its height, decimetres."""
    rest = person.figure.rest
    lowest, highest = float(rest[:, 1].min()), float(rest[:, 1].max())
    x, z = points[:, 0].mean(), points[:, 2].mean()
    return np.array([x, float(points[:, 1].min()) + (highest - lowest) / 2, z], float), highest - lowest


def _seen(points: NDArray[np.float64], camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2): where points appear, in pixels of 256."""
    clip = np.concatenate([points, np.ones((len(points), 1))], 1) @ camera.T
    place: NDArray[np.float64] = (clip[:, :2] / clip[:, 3:] * (1, -1) + 1) * IMAGE_SIZE / 2 - 0.5
    return place


def _truth(
    face: NDArray[np.float64], camera: NDArray[np.float64], total: NDArray[np.float64], rise: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64]]:
    place = _seen(face, camera)
    seen = rotation(0, rise, 0) @ total
    ahead, up = seen[:, 2], seen[:, 1]
    flat = np.array([ahead[2], 0, -ahead[0]]) / np.hypot(ahead[0], ahead[2])  # to the side, and level
    angles = np.degrees(
        [np.arctan2(ahead[0], ahead[2]), -np.arcsin(np.clip(ahead[1], -1, 1)), np.arcsin(np.clip(up @ flat, -1, 1))]
    )

    def apart(a: int, b: int) -> float:
        return float(np.linalg.norm(face[a] - face[b]))

    def opening(upper: int, lower: int) -> float:
        """None where the upper one has gone past the lower one, as lids that are shut tight do."""
        return apart(upper, lower) if (face[upper] - face[lower]) @ total[:, 1] > 0 else 0.0

    lids = [(opening(i + 1, i + 5) + opening(i + 2, i + 4)) / 2 / apart(i, i + 3) for i in (36, 42)]
    return place, angles, opening(62, 66) / apart(36, 45), np.array(lids)
