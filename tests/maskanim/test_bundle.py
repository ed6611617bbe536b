"""The bundle: written whole or not at all, verified whole, and every damage told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskanim import models
from maskanim.bundle import MANIFEST, Bundle, Manifest, copy_bundle, network_file, write_bundle
from maskanim.errors import MaskanimError
from maskanim.spec import NETWORK_NAMES, ModelSpec

CONTENTS = {name: f"content of {name}".encode() for name in NETWORK_NAMES}


def manifest(name: str = "test", contents: dict[str, bytes] = CONTENTS) -> Manifest:
    networks = {network: network_file(network, content) for network, content in contents.items()}
    return Manifest(name=name, model=ModelSpec(), opset=20, networks=networks)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "bundle", manifest(), CONTENTS)


def refusal(path: Path) -> str:
    with pytest.raises(MaskanimError) as error:
        Bundle.open(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def change(bundle: Bundle, **changes: object) -> Path:
    file = bundle.path / MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return bundle.path


def test_round_trip(bundle: Bundle) -> None:
    assert Bundle.open(bundle.path).manifest == manifest()
    assert bundle.network("h").read_bytes() == CONTENTS["h"]


def test_nothing_but_the_bundle_is_left(bundle: Bundle) -> None:
    assert [path.name for path in bundle.path.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_one_flipped_bit_is_noticed(bundle: Bundle, name: str) -> None:
    content = bytearray(bundle.network(name).read_bytes())
    content[5] ^= 1
    bundle.network(name).write_bytes(content)
    assert f"{name}.onnx: changed since it was written" in refusal(bundle.path)


def test_a_shorter_file_is_told_by_its_size(bundle: Bundle) -> None:
    bundle.network("r").write_bytes(b"short")
    assert "r.onnx: 5 bytes; expected 12" in refusal(bundle.path)


def test_a_device_in_place_of_a_file_is_not_read(bundle: Bundle) -> None:
    """It has no end."""
    bundle.network("l").unlink()
    bundle.network("l").symlink_to("/dev/zero")
    with pytest.raises(MaskanimError, match=r"l\.onnx: 0 bytes; expected"):
        Bundle.open(bundle.path)


def test_a_manifest_too_deep_to_read(bundle: Bundle) -> None:
    (bundle.path / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(MaskanimError, match=r"an unreadable manifest\.json"):
        Bundle.open(bundle.path)


def test_a_copy_is_the_same_bundle(bundle: Bundle, tmp_path: Path) -> None:
    copy = copy_bundle(bundle, tmp_path / "copy")
    assert copy.manifest == bundle.manifest and copy.path != bundle.path
    assert all(copy.network(name).read_bytes() == bundle.network(name).read_bytes() for name in NETWORK_NAMES)
    assert copy_bundle(copy, copy.path).manifest == bundle.manifest, "onto itself, too"


def test_a_missing_file_is_named(bundle: Bundle) -> None:
    bundle.network("l").unlink()
    assert "l.onnx" in refusal(bundle.path)


def test_other_versions_and_unknown_keys_are_refused(bundle: Bundle) -> None:
    assert "format version 7" in refusal(change(bundle, format_version=7))
    assert "colour" in refusal(change(bundle, format_version=1, colour="red"))


def test_a_missing_network_is_named(bundle: Bundle) -> None:
    networks = json.loads((bundle.path / MANIFEST).read_text())["networks"]
    del networks["h"], networks["l"]
    assert "no network l, h" in refusal(change(bundle, networks=networks))


def test_what_is_no_bundle(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert f"no {MANIFEST}" in refusal(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    assert "unreadable" in refusal(tmp_path)
    (tmp_path / MANIFEST).write_text("[1]")
    assert "something else" in refusal(tmp_path)


def test_a_manifest_cannot_point_outside_its_folder(bundle: Bundle) -> None:
    networks = json.loads((bundle.path / MANIFEST).read_text())["networks"]
    networks["m"]["file"] = "../m.onnx"
    assert "networks.m.file" in refusal(change(bundle, networks=networks))


def test_a_newer_bundle_replaces_an_older_one(bundle: Bundle) -> None:
    contents = CONTENTS | {"m": b"other"}
    write_bundle(bundle.path, manifest("newer", contents), contents)
    assert Bundle.open(bundle.path).manifest.name == "newer"
    assert [path.name for path in bundle.path.parent.iterdir()] == ["bundle"]


def test_a_failed_write_leaves_the_older_one(bundle: Bundle) -> None:
    with pytest.raises(MaskanimError):
        write_bundle(bundle.path, manifest("newer"), CONTENTS | {"m": b"not what the manifest says"})
    assert Bundle.open(bundle.path).manifest.name == "test"
    assert [path.name for path in bundle.path.parent.iterdir()] == ["bundle"]


def test_a_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(MaskanimError, match="not a bundle"):
        write_bundle(tmp_path / "mine", manifest(), CONTENTS)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize("place", ["models", "mod\udce8les"])
def test_the_registered_model_is_the_one_chosen(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv(models.HOME_VARIABLE, str(tmp_path / "home"))
    try:
        (tmp_path / place).mkdir()
    except (OSError, UnicodeError):
        pytest.skip("names are UTF-8 here")
    bundle = copy_bundle(bundle, tmp_path / place / "bundle")
    models.register(bundle)
    chosen = models.choose(None)
    assert chosen.bundle == bundle and "exported last" in chosen.why
    bundle.network("m").unlink()
    with pytest.raises(MaskanimError):
        models.choose(None)
