"""One identity as a mesh that moves: body, eyes, teeth, hair and clothes as one cloud of points.

Everything is linear in the points of the base mesh until the skeleton turns them: an expression adds weighted targets,
proxies follow three body points each, and bones blend. So a frame costs a few array operations.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.train.people.assets import EYES, Floats, Ints, Mesh, Pack, Proxy, Target

Framing = Literal["head", "body"]
LOG = logging.getLogger(__name__)

HEAD_BONES = ("neck01", "neck02", "neck03", "head", "eye.L", "eye.R")
BELOW_NECK = 2.6  # decimetres below the lowest neck joint that a picture of a head may show
# Where the pictures of eyes show the left one, seen from the front: middle, and how far from it a radian is.
EYE_MIDDLE, EYE_RADIAN, EYE_EDGE = (0.293, 0.301), 0.227, 1.25
EXPRESSIVE = ("teeth", "tongue", "eyelashes", "eyebrows")  # what a face's expressions move, beside its skin
EYE_BONES = {"helper-l-eye": "eye.L", "helper-r-eye": "eye.R"}


class Part(NamedTuple):
    """What is drawn with one material."""

    kind: str  # ``skin``, ``eyes``, or a proxy's folder
    points: Ints  # (R,) int32, the figure's point of each drawn vertex: one for each pair of a point and a uv
    uvs: Floats  # (R, 2) float32
    triangles: Ints  # (T, 3) int32 into `points`
    texture: str  # key in the pack


def harmonics(x: Floats, y: Floats, z: Floats) -> Floats:
    """(..., 9): the real spherical harmonics of the first three orders, not normalised, of unit vectors."""
    return np.stack([np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], -1)


class HairShape(NamedTuple):
    """How an identity's hair differs from the asset's.

    It grows about the head by a smooth function of the direction, is longer or shorter below the head, and is shifted.
    Growth is never into the head; a shift can hide some hair under the skin, as where it recedes.
    """

    growth: Floats  # (9,) float32, shares of the radius for each of the `harmonics` of the direction
    length: float  # of what hangs below the head's joint, as a factor
    shift: Floats  # (3,) float32, decimetres

    def applied(self, points: Floats, centre: Floats, below: float) -> Floats:
        """(N, 3) points about a head's (3,) centre; `below` is the height under which hair hangs. Decimetres."""
        ray = points - centre
        terms = harmonics(*(ray / np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-6)).T)
        shaped = centre + ray * np.clip(1 + terms @ self.growth, 1, 1.35)[:, None] + self.shift
        hanging = np.minimum(shaped[:, 1] - below, 0)
        shaped[:, 1] += (self.length - 1) * hanging
        result: Floats = shaped.astype(np.float32)
        return result


class Skeleton:
    """The bones that move in a framing, and how much each base vertex follows them.

    Attributes:
        names: of the bones, parents first; the first is the root, which everything else follows.
        parents: index of each one's parent.
        heads: base vertices whose mean is where the bone begins.
        weights: (base vertices, bones) float32; each row sums to 1.
    """

    def __init__(self, pack: Pack, kept: Sequence[str] | None) -> None:
        parents = {bone.name: bone.parent for bone in pack.bones}
        bones = [bone for bone in pack.bones if bone.parent is None or kept is None or bone.name in kept]
        self.names = tuple(bone.name for bone in bones)
        self.heads = [bone.head for bone in bones]
        if kept is not None:  # what is below the neck turns about its foot
            self.heads[0] = next(bone.head for bone in bones if bone.name == kept[0])
        index = {name: i for i, name in enumerate(self.names)}

        def nearest(name: str | None) -> int:
            while name is not None and name not in index:
                name = parents[name]
            return 0 if name is None else index[name]

        self.parents = [nearest(parents[name]) for name in self.names]
        self.weights = np.zeros((len(pack.base.vertices), len(self.names)), np.float32)
        for name, (vertices, values) in pack.weights.items():
            self.weights[vertices, nearest(name)] += values  # no vertex twice
        for group, bone in EYE_BONES.items():
            vertices = np.unique(pack.base.faces[pack.base.of(group)])
            self.weights[vertices] = np.eye(len(self.names), dtype=np.float32)[index[bone]]
        total = self.weights.sum(1, keepdims=True)
        self.weights[total[:, 0] == 0, 0] = 1
        self.weights /= np.maximum(self.weights.sum(1, keepdims=True), 1e-6)

    def matrices(self, joints: Floats, turns: Mapping[str, NDArray[np.float64]]) -> Floats:
        """(bones, 3, 4) float32: where each bone brings a rest point.

        Args:
            joints: (bones, 3), where each bone begins at rest.
            turns: (3, 3) rotations about the bone's beginning, in the world's axes and within the parent's turn.
        """
        count = len(self.names)
        rotations, places = np.empty((count, 3, 3)), np.empty((count, 3))
        for i, name in enumerate(self.names):
            own = turns.get(name, np.eye(3))
            if i == 0:
                rotations[i], places[i] = own, joints[i]
                continue
            parent = self.parents[i]
            rotations[i] = rotations[parent] @ own
            places[i] = places[parent] + rotations[parent] @ (joints[i] - joints[parent])
        shifts = places - np.einsum("bij,bj->bi", rotations, joints)
        return np.concatenate([rotations, shifts[..., None]], 2).astype(np.float32)


class Anatomy:
    """What all figures of a framing share: which vertices are kept, the skeleton, the expressions on them.

    Args:
        pack: the assets.
        framing: ``head`` keeps what is above the chest; ``body`` keeps all.
        expressions: names of the targets that a face is moved by; those that the assets lack move nothing.
    """

    def __init__(self, pack: Pack, framing: Framing, expressions: Sequence[str]) -> None:
        self.pack, self.framing, self.expressions = pack, framing, tuple(expressions)
        self.skeleton = Skeleton(pack, HEAD_BONES if framing == "head" else None)
        height = pack.base.vertices[:, 1]
        neck = next(bone for bone in pack.bones if bone.name == "neck01")
        self.lowest = float(height[neck.head].mean()) - BELOW_NECK if framing == "head" else -np.inf
        self.eyes = _eyeballs(pack.base)
        self.basis = np.zeros((len(self.expressions), len(height), 3), np.float32)
        missing = [name for name in self.expressions if name not in pack.targets]
        if missing:
            LOG.warning("the assets lack %d of %d expressions, so faces move less", len(missing), len(self.expressions))
        for i, name in enumerate(self.expressions):
            if name in pack.targets:
                self.basis[i, pack.targets[name].vertices] = pack.targets[name].deltas

    def shown(self, mesh: Mesh, faces: NDArray[np.bool_], heights: Floats) -> NDArray[np.bool_]:
        """Which of the faces lie in the picture, by the heights of the mesh's vertices."""
        return faces & (heights[mesh.faces] > self.lowest).all(1)


class Figure:
    """An identity's points at rest, and how they move.

    Args:
        anatomy: of the framing.
        targets: weights of the targets that make the identity.
        wears: keys of proxies, from the innermost to the outermost.
        skin, eyes: keys of their textures.
        hair_shape: how the hair differs from the asset's; None: it does not.

    Attributes:
        parts: what is drawn, in this order.
        rest: (N, 3) float32, decimetres.
        joints: (bones, 3) float32.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        targets: Mapping[str, float],
        wears: Sequence[str],
        skin: str,
        eyes: str,
        hair_shape: HairShape | None = None,
    ) -> None:
        self.anatomy, self._hair_shape = anatomy, hair_shape
        pack, base = anatomy.pack, anatomy.pack.base
        body = morphed(base.vertices, pack.targets, targets)
        self.joints = np.stack([body[head].mean(0) for head in anatomy.skeleton.heads])
        hidden = np.zeros(len(body), bool)
        for wear in wears:
            hidden[pack.proxies[wear].hides] = True
        covered = hidden[base.faces].all(1)
        self._added: list[tuple[Floats, Floats, Floats]] = []  # points at rest, what expressions and bones do to them
        self.parts: list[Part] = []
        self.base_points = np.full(len(body), -1, np.int32)
        drawn = {"skin": anatomy.shown(base, base.of("body") & ~covered, base.vertices[:, 1]), "eyes": base.of(*EYES)}
        for kind, faces in drawn.items():
            mesh, used = anatomy.eyes if kind == "eyes" else base, np.unique(base.faces[faces])
            places = self._add(body[used], anatomy.basis[:, used], anatomy.skeleton.weights[used])
            self.base_points[used] = places
            self._draw(kind, mesh, faces, self.base_points, skin if kind == "skin" else eyes)
        for wear in wears:
            self._wear(wear, body)
        rests, bases, weights = zip(*self._added, strict=True)
        self.rest, self.weights, self.basis = np.concatenate(rests), np.concatenate(weights), np.concatenate(bases, 1)
        self.moving = np.flatnonzero(np.abs(self.basis).max((0, 2)) > 0)
        self.basis = np.ascontiguousarray(self.basis[:, self.moving]).reshape(len(self.basis), -1)
        self._triangles, self._around = _normals_plan(self.parts, len(self.rest))

    def _add(self, rest: Floats, basis: Floats, weights: Floats) -> Ints:
        start = sum(len(points) for points, _, _ in self._added)
        self._added.append((rest, basis, weights))
        return np.arange(start, start + len(rest), dtype=np.int32)

    def _draw(self, kind: str, mesh: Mesh, faces: NDArray[np.bool_], places: Ints, texture: str) -> None:
        if not faces.any():  # out of the picture, or covered
            return
        pairs = np.stack([mesh.faces[faces], mesh.uv_faces[faces]], -1).reshape(-1, 2)
        unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
        quads = inverse.reshape(-1, 4).astype(np.int32)
        triangles = np.concatenate([quads[:, [0, 1, 2]], quads[quads[:, 2] != quads[:, 3]][:, [0, 2, 3]]])
        self.parts.append(Part(kind, places[unique[:, 0]], mesh.uvs[unique[:, 1]], triangles, texture))

    def _wear(self, wear: str, body: Floats) -> None:
        anatomy, proxy, kind = self.anatomy, self.anatomy.pack.proxies[wear], wear.split("/")[0]
        heights = _follow(proxy, anatomy.pack.base.vertices)[:, 1]
        faces = anatomy.shown(proxy.mesh, np.ones(len(proxy.mesh.faces), bool), heights)
        used = np.unique(proxy.mesh.faces[faces])
        corners, shares = proxy.corners[used], proxy.weights[used][..., None]
        basis = np.zeros((len(anatomy.expressions), len(used), 3), np.float32)
        if kind in EXPRESSIVE:
            basis = (anatomy.basis[:, corners] * shares).sum(2)
        weights = np.maximum((anatomy.skeleton.weights[corners] * shares).sum(1), 0)
        weights /= np.maximum(weights.sum(1, keepdims=True), 1e-6)
        places = np.full(len(proxy.mesh.vertices), -1, np.int32)
        points = _follow(proxy, body)[used]
        if kind == "hair" and self._hair_shape:
            head, *eyes = (self.joints[anatomy.skeleton.names.index(bone)] for bone in ("head", "eye.L", "eye.R"))
            centre = np.array([0, np.mean(eyes, 0)[1], head[2]], np.float32)
            points = self._hair_shape.applied(points, centre, float(head[1]))
        places[used] = self._add(points, basis, weights)
        self._draw(kind, proxy.mesh, faces, places, proxy.texture)

    def posed(self, expression: Floats, turns: Mapping[str, NDArray[np.float64]]) -> tuple[Floats, Floats]:
        """Points and their normals.

        Args:
            expression: (expressions,) float32 weights.
            turns: see `Skeleton.matrices`.

        Returns:
            (N, 3) float32 each, decimetres and unit vectors.
        """
        points = self.rest.copy()
        points[self.moving] += (expression @ self.basis).reshape(-1, 3)
        blended = self.weights @ self.anatomy.skeleton.matrices(self.joints, turns).reshape(len(self.joints), 12)
        matrices = blended.reshape(-1, 3, 4)
        points = np.einsum("nij,nj->ni", matrices[..., :3], points, optimize=False) + matrices[..., 3]
        return points, self._normals(points)

    def posed_bones(self, bones: Sequence[str], turns: Mapping[str, NDArray[np.float64]]) -> tuple[Floats, Floats]:
        """(B, 3) and (B, 3, 3): where bones begin when the skeleton is turned, and their rotations in the world."""
        skeleton = self.anatomy.skeleton
        chosen = [skeleton.names.index(bone) for bone in bones]
        matrices = skeleton.matrices(self.joints, turns)[chosen]
        places: Floats = np.einsum("bij,bj->bi", matrices[..., :3], self.joints[chosen]) + matrices[..., 3]
        return places, matrices[..., :3]

    def _normals(self, points: Floats) -> Floats:
        a, b, c = (points[self._triangles[:, i]] for i in range(3))
        faces = np.zeros((len(self._triangles) + 1, 3), np.float32)
        p, q = b - a, c - a
        faces[:-1, 0] = p[:, 1] * q[:, 2] - p[:, 2] * q[:, 1]
        faces[:-1, 1] = p[:, 2] * q[:, 0] - p[:, 0] * q[:, 2]
        faces[:-1, 2] = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
        normals = faces[self._around].sum(1)
        length = np.sqrt((normals**2).sum(1, keepdims=True))
        result: Floats = normals / np.maximum(length, 1e-12)
        return result


def _eyeballs(base: Mesh) -> Mesh:
    """The base mesh with uvs of its eyes for the pictures of eyes: the angle from the front is the distance there."""
    uvs = np.zeros((len(base.vertices), 2), np.float32)
    for group in EYES:
        vertices = np.unique(base.faces[base.of(group)])
        at = base.vertices[vertices]
        ray = at - (at.min(0) + at.max(0)) / 2
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        angle = np.arccos(np.clip(ray[:, 2], -1, 1))
        radius = EYE_RADIAN * np.minimum(angle, EYE_EDGE) / np.maximum(np.sin(angle), 1e-6)
        uvs[vertices] = EYE_MIDDLE + radius[:, None] * ray[:, :2]
    return base._replace(uvs=uvs, uv_faces=base.faces)


def morphed(vertices: Floats, targets: Mapping[str, Target], weights: Mapping[str, float]) -> Floats:
    """The vertices with weighted targets added."""
    result = vertices.copy()
    for name, weight in weights.items():
        result[targets[name].vertices] += np.float32(weight) * targets[name].deltas
    return result


def _follow(proxy: Proxy, body: Floats) -> Floats:
    scale = [abs(body[a, i] - body[b, i]) / size for i, (a, b, size) in enumerate(proxy.scales)]
    followed: Floats = (body[proxy.corners] * proxy.weights[..., None]).sum(1)
    return followed + proxy.offsets * np.array(scale, np.float32)


def _normals_plan(parts: Sequence[Part], count: int) -> tuple[Ints, Ints]:
    """The corners of all triangles, and for each point the triangles around it; the last is one of no size."""
    triangles = np.concatenate([part.points[part.triangles] for part in parts])
    corners = triangles.reshape(-1)
    order = np.argsort(corners, kind="stable")
    faces = (order // 3).astype(np.int32)
    starts = np.searchsorted(corners[order], np.arange(count))
    ends = np.searchsorted(corners[order], np.arange(count), side="right")
    width = int((ends - starts).max())
    slots = starts[:, None] + np.arange(width)
    padded = np.append(faces, np.int32(len(triangles)))
    around = padded[np.where(slots < ends[:, None], slots, len(faces))]
    return triangles.astype(np.int32), around.astype(np.int32)
