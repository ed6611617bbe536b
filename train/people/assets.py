"""MakeHuman's assets: meshes, morph targets, proxies, skeleton, textures and poses, as they lie on disk."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from maskanim.errors import MaskanimError

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

SUFFIXES = (".jpg", ".png", ".jpeg")
# Pieces of the base mesh that are drawn beside the body; clothes and hair are fitted to the others.
EYES = ("helper-l-eye", "helper-r-eye")
PROXY_FOLDERS = ("hair", "eyebrows", "eyelashes", "teeth", "tongue", "clothes")
DETAILS = ("head", "nose", "mouth", "eyes", "chin", "cheek", "forehead", "eyebrows", "ears", "neck")
# Left out of the details: they move whole features away from the skull.
LEFT_OUT = ("trans-in", "trans-out")
UV_MAPS = {"lips": "mpfb_lips", "mouth": "mpfb_inside-mouth"}
REQUIRED = ("3dobjs/base.obj", "targets/macrodetails", "rigs/default.mhskel", "rigs/default_weights.mhw")


class Mesh(NamedTuple):
    """Faces over shared vertices."""

    vertices: Floats  # (V, 3) float32, decimetres, y up, the face looks along +z
    uvs: Floats  # (T, 2) float32 in [0, 1], v up
    faces: Ints  # (F, 4) int32 into `vertices`; a triangle repeats its last corner
    uv_faces: Ints  # (F, 4) int32 into `uvs`
    groups: Ints  # for each face, the index of its group in `names`
    names: tuple[str, ...]  # of the groups

    def of(self, *names: str) -> NDArray[np.bool_]:
        """Which faces belong to the named groups."""
        return np.isin(self.groups, [self.names.index(name) for name in names if name in self.names])


class Target(NamedTuple):
    """A morph target: what is added to some of the base mesh's vertices."""

    vertices: Ints
    deltas: Floats


class Proxy(NamedTuple):
    """A mesh that follows the body: hair, clothes, teeth and so on (MakeHuman's ``.mhclo``)."""

    mesh: Mesh  # its own vertices are only where it was made
    corners: Ints  # (V, 3) int32, vertices of the base mesh
    weights: Floats  # (V, 3) float32, of those corners
    offsets: Floats  # (V, 3) float32, added after a scale for each axis
    # for x, y and z: two base vertices, and their distance where the offsets hold as they are
    scales: tuple[tuple[int, int, float], ...]
    hides: Ints  # vertices of the base mesh that it covers
    texture: str  # key in the pack's textures


class Bone(NamedTuple):
    """One bone of the skeleton; its head and tail are the means of base vertices."""

    name: str
    parent: str | None
    head: Ints
    tail: Ints


@dataclass
class Pack:
    """All that people are made of."""

    base: Mesh  # the base mesh
    targets: dict[str, Target]  # by their path below ``targets``, without suffix, e.g. ``arkit/jawOpen``.
    proxies: dict[str, Proxy]  # by folder and name, e.g. ``hair/bob01``.
    bones: list[Bone]  # parents before children
    weights: dict[str, tuple[Ints, Floats]]  # of each bone: vertices of the base mesh and how much they follow it
    textures: dict[str, bytes]  # encoded pictures by key, e.g. ``skins/young_lightskinned_male_diffuse``.
    poses: dict[str, str] = field(default_factory=dict)  # BVH files by name
    fingerprint: str = ""  # of the files' names and sizes, which data made from them is named by


def read_pack(folder: Path) -> Pack:
    """Read a folder of MakeHuman's layout; some four seconds.

    Args:
        folder: an installed MakeHuman's ``data``, or a copy of it.

    Raises:
        MaskanimError: something that is needed is not there.
    """
    missing = [name for name in REQUIRED if not (folder / name).exists()]
    if missing:
        raise MaskanimError(
            f"--assets {folder}",
            f"no {missing[0]}",
            "a folder of MakeHuman's data: 3dobjs, targets, rigs, skins, hair and so on",
            "Its assets are CC0; an installed MakeHuman has them in its folder data",
        )
    pack = Pack(
        base=read_mesh(folder / "3dobjs" / "base.obj"),
        targets={name: _read_target(path) for name, path in _target_files(folder / "targets")},
        proxies={},
        bones=_read_bones(folder / "rigs" / "default.mhskel"),
        weights=_read_weights(folder / "rigs" / "default_weights.mhw"),
        textures={},
    )
    for file in sorted(path for each in PROXY_FOLDERS for path in (folder / each).glob("*/*.mhclo")):
        pack.proxies[f"{file.parent.parent.name}/{file.parent.name}"] = _read_proxy(file, folder, pack.textures)
    for key, pattern in (("skins", "skins/textures/*"), ("eyes", "eyes/materials/*"), ("backgrounds", "backgrounds/*")):
        for file in sorted(path for path in folder.glob(pattern) if path.suffix in SUFFIXES):
            pack.textures[f"{key}/{file.stem}"] = file.read_bytes()
    for key, name in UV_MAPS.items():
        pack.textures[f"maps/{key}"] = _picture(folder / "textures" / name).read_bytes()
    pack.poses = {file.stem: file.read_text("utf-8") for file in sorted((folder / "poses").glob("*.bvh"))}
    listing = "".join(f"{file.relative_to(folder)} {file.stat().st_size}\n" for file in sorted(folder.rglob("*")))
    pack.fingerprint = hashlib.sha256(listing.encode()).hexdigest()[:16]
    return pack


def decode(data: bytes) -> NDArray[np.uint8]:
    """A picture of the pack: (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        MaskanimError: it is damaged.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise MaskanimError("a picture of the assets", "a damaged file", "a JPEG or PNG", "Copy the assets again")
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    return np.asarray(
        cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB), np.uint8
    )


def read_mesh(path: Path) -> Mesh:
    """Read a Wavefront file of triangles and quads."""
    vertices: list[str] = []
    uvs: list[str] = []
    corners: list[list[str]] = []
    groups: list[int] = []
    names: list[str] = ["all"]
    group = 0
    for line in path.read_text("utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append(rest)
        elif kind == "vt":
            uvs.append(" ".join(rest.split()[:2]))
        elif kind == "g":
            name = rest.strip()
            group = names.index(name) if name in names else len(names)
            names[group : group + 1] = [name]
        elif kind == "f":
            face = rest.split()
            corners.append(face if len(face) == 4 else [*face, face[-1]])
            groups.append(group)
    pairs = np.array([corner.split("/")[:2] for face in corners for corner in face], np.int32).reshape(-1, 4, 2) - 1
    return Mesh(
        _numbers(vertices, 3), _numbers(uvs, 2), pairs[..., 0].copy(), pairs[..., 1].copy(),
        np.array(groups, np.int32), tuple(names),
    )  # fmt: skip


def _numbers(lines: Iterable[str], columns: int) -> Floats:
    return np.array(" ".join(lines).split(), np.float32).reshape(-1, columns)


def _target_files(folder: Path) -> Iterable[tuple[str, Path]]:
    wanted = ("macrodetails", "macrodetails/height", "expression/units/caucasian", "arkit", *DETAILS)
    for each in wanted:
        for path in sorted((folder / each).glob("*.target.gz")):
            name = path.name.removesuffix(".target.gz")
            if not any(part in name for part in LEFT_OUT):
                yield f"{each}/{name}", path


def _read_target(path: Path) -> Target:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        values = _numbers((line for line in file if not line.startswith(("#", '"'))), 4)
    return Target(values[:, 0].astype(np.int32), values[:, 1:])


def _read_bones(path: Path) -> list[Bone]:
    rig = json.loads(path.read_text("utf-8"))
    left: dict[str, Any] = dict(rig["bones"])
    bones: list[Bone] = []
    while left:
        known = {bone.name for bone in bones}
        for name in [name for name, bone in left.items() if bone["parent"] is None or bone["parent"] in known]:
            bone = left.pop(name)
            ends = (np.array(rig["joints"][bone[end]], np.int32) for end in ("head", "tail"))
            bones.append(Bone(name, bone["parent"], *ends))
    return bones


def _read_weights(path: Path) -> dict[str, tuple[Ints, Floats]]:
    return {
        bone: (np.array([row[0] for row in rows], np.int32), np.array([row[1] for row in rows], np.float32))
        for bone, rows in json.loads(path.read_text("utf-8"))["weights"].items()
    }


def _read_proxy(path: Path, root: Path, textures: dict[str, bytes]) -> Proxy:
    """Read a ``.mhclo`` with its mesh; its texture is put into `textures`."""
    settings: dict[str, list[str]] = {}
    rows: list[list[float]] = []
    hidden: list[str] = []
    section = ""
    for line in path.read_text("utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("verts", "delete_verts"):
            section = words[0]
        elif section == "verts" and words[0].lstrip("-").replace(".", "").isdigit():
            rows.append([float(word) for word in words])
        elif section == "delete_verts" and words[0].isdigit():
            hidden += words
        else:
            settings[words[0]] = words[1:]
    alone = [row if len(row) == 9 else [row[0], 0, 0, 1, 0, 0, 0, 0, 0] for row in rows]
    table = np.array(alone, np.float64)
    scales = tuple((int(a), int(b), float(size)) for a, b, size in (settings[f"{axis}_scale"] for axis in "xyz"))
    material = path.parent / settings["material"][0]
    if not material.exists():
        material = root / path.parent.parent.name / "materials" / material.name
    picture = _material_picture(material)
    key = f"{path.parent.parent.name}/{picture.stem}"
    textures[key] = picture.read_bytes()
    return Proxy(
        read_mesh(path.parent / settings["obj_file"][0]), table[:, :3].astype(np.int32),
        table[:, 3:6].astype(np.float32), table[:, 6:].astype(np.float32), scales, _ranges(hidden), key,
    )  # fmt: skip


def _ranges(words: list[str]) -> Ints:
    """``3 7 - 9`` is 3, 7, 8, 9."""
    text = " ".join(words).replace(" - ", "-").split()
    spans = [[int(end) for end in word.split("-")] for word in text]
    return np.array([n for span in spans for n in range(span[0], span[-1] + 1)], np.int32)


def _material_picture(path: Path) -> Path:
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("diffuseTexture "):
            return _picture(path.parent / line.split()[1])
    raise MaskanimError(str(path), "no diffuseTexture", "a material with a picture")


def _picture(path: Path) -> Path:
    """The picture of that name, whatever its suffix."""
    found = [path.with_suffix(suffix) for suffix in SUFFIXES if path.with_suffix(suffix).exists()]
    if not found:
        raise MaskanimError(str(path), "no such picture", "one with the suffix .png or .jpg")
    return found[0]
