"""MakeHuman's formats, read from a stand-in whose content is known."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.small_people import BALL, BOX, COUNT, EYES, JOINTS, RINGS, SEGMENTS, vertices
from maskanim.errors import MaskanimError
from maskanim.train.people.assets import Pack, decode, read_mesh, read_pack


def test_the_base_mesh_has_its_vertices_and_groups(pack: Pack) -> None:
    np.testing.assert_allclose(pack.base.vertices, vertices(), atol=1e-6)
    assert pack.base.of("body").sum() == (RINGS - 1) * SEGMENTS + 66 + 6
    eye = pack.base.faces[pack.base.of("helper-l-eye", "no such group")]
    assert np.unique(eye).tolist() == list(range(EYES["l"], EYES["l"] + 6))
    assert (eye[:, 2] == eye[:, 3]).all()  # a triangle repeats its last corner


def test_uvs_keep_two_numbers_and_faces_without_normals_or_with_them(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0.5 0.25 0\ng a\nf 1/1/1 2/1/1 3/1/1\ng b\nf 1/1 2/1 3/1\ng a\nf 3/1 2/1 1/1\n"
    )
    mesh = read_mesh(path)
    assert mesh.uvs.tolist() == [[0.5, 0.25]]
    assert mesh.of("a").tolist() == [True, False, True]
    assert mesh.faces.tolist() == [[0, 1, 2, 2], [0, 1, 2, 2], [2, 1, 0, 0]]


def test_targets_have_their_deltas_and_some_are_left_out(pack: Pack) -> None:
    target = pack.targets["ears/l-ear-big"]
    assert target.vertices.tolist() == [BALL] and target.deltas.tolist() == [[1, 1, 1]]
    assert "arkit/jawOpen" in pack.targets and "ears/ear-trans-in" not in pack.targets


def test_bones_come_after_their_parents(pack: Pack) -> None:
    names = [bone.name for bone in pack.bones]
    assert all(bone.parent is None or names.index(bone.parent) < i for i, bone in enumerate(pack.bones))
    assert next(bone.head.tolist() for bone in pack.bones if bone.name == "neck01") == [JOINTS + 1]
    assert pack.weights["root"][0].tolist() == list(range(BOX, BOX + 8))


def test_a_proxy_has_corners_offsets_scales_and_what_it_hides(pack: Pack) -> None:
    hair, suit = pack.proxies["hair/afro01"], pack.proxies["clothes/male_suit01"]
    assert hair.weights[0].tolist() == [0.5, 0.25, 0.25] and hair.offsets[0].tolist() == pytest.approx([0, 0.1, 0])
    assert (hair.weights[1:] == [1, 0, 0]).all() and not hair.offsets[1:].any()
    assert suit.hides.tolist() == [BOX, BOX + 1, BOX + 2, BOX + 3]
    assert hair.scales[0] == (EYES["l"], EYES["r"], 0.6) and len(pack.base.vertices) == COUNT
    assert decode(pack.textures[hair.texture]).shape == (128, 128, 3)


@pytest.mark.parametrize("gone", ["3dobjs/base.obj", "rigs/default.mhskel"])
def test_what_is_missing_is_named(assets: Path, tmp_path: Path, gone: str) -> None:
    folder = Path(shutil.copytree(assets, tmp_path / "assets"))
    (folder / gone).unlink()
    with pytest.raises(MaskanimError, match=f"--assets .*: no {gone}"):
        read_pack(folder)


def test_other_assets_have_another_fingerprint(assets: Path, pack: Pack, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(assets, tmp_path / "assets"))
    assert read_pack(folder).fingerprint == pack.fingerprint
    (folder / "backgrounds/street.jpg").unlink()
    assert read_pack(folder).fingerprint != pack.fingerprint


def test_a_damaged_picture_is_refused() -> None:
    with pytest.raises(MaskanimError, match="damaged"):
        decode(b"no picture")
