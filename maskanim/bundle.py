"""The on-disk bundle that export writes and the runtime reads: one ONNX file per network and a manifest with hashes.

A bundle is a folder. It is written whole or not at all, and verified whole before anything of it runs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from maskanim.atomic import replace_folder, sibling_folder
from maskanim.errors import MaskanimError
from maskanim.spec import NETWORKS, ModelSpec, NetworkName, NetworkSpec, Record

FORMAT: Final = "maskanim-bundle"
FORMAT_VERSION: Final = 2  # that is written; 1 knew no INT8, and is read as well
READABLE: Final = (1, 2)
MANIFEST = "manifest.json"
PLANS = "plans"  # the folder of the engine plans that were built from the bundle; not part of the bundle itself


class BundleFile(Record):
    """A file of a bundle."""

    file: str = Field(pattern=r"^[\w.-]+$")  # its name inside the bundle
    # sha256, size: of its content; the size in bytes
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1)


class NetworkFile(BundleFile):
    """One network's file."""

    signature: NetworkSpec  # names, channels and sizes of inputs and output
    # the exact rewrites that the exported graph has, by name, in the order in which they were applied
    lowering: tuple[str, ...] = ()


class Agreement(Record):
    """How far a model's networks in one form are from those in another, on pairs of frames; the worst of all."""

    # per network, the largest absolute difference of any output value, on the same inputs
    max_difference: dict[NetworkName, float]
    # the lowest of the final frames' after the whole pipeline, in dB with peak 1; at pixels whose perturbation flips,
    # both sides take the reference's decision
    frame_psnr: float


class Difference(Agreement):
    """An `Agreement` with all that was measured beside it."""

    # per network, the lowest agreement of its outputs on the same inputs, in dB with peak 1
    network_psnr: dict[NetworkName, float]
    own_frame_psnr: float  # as `frame_psnr`, but each side takes its own decisions
    # pixels of the driving masks, of `mask_pixels`, so near the perturbation's threshold that one side keeps and the
    # other zeroes them
    threshold_flips: int
    mask_pixels: int  # of all driving masks
    flip_distance: float  # the farthest that the reference's mask is from its threshold at a pixel that flips


class HalfParity(Difference):
    """What FP16 engines change, against PyTorch in float32 with the trained weights; emulated on a CPU at export."""

    pairs: int  # how many of the pairs of frames were used
    # per network, the largest absolute value that was rounded to half, which ends at 65504
    largest_activation: dict[NetworkName, float]


class Parity(Agreement):
    """How the exported networks compare with PyTorch's, measured at export on real frames.

    With float16 weights PyTorch's have the same rounded weights here, and `rounding` tells what the rounding does.
    """

    frames: str  # what the pairs were, e.g. ``9 pairs of the embedded demo frames``
    runtime: str  # which library ran the exported networks
    # threshold_flips, mask_pixels: as in `Difference`
    threshold_flips: int = 0
    mask_pixels: int = 0
    # the rounded weights against the trained ones, in PyTorch; only with float16 weights
    rounding: Agreement | None = None
    # the lowest of the final frames' with r, l and h in BF16, where it was measured
    bf16_frame_psnr: float | None = None
    half: HalfParity | None = None  # of FP16 engines, where it was measured
    half_refusal: str = ""  # why this model does not survive FP16; empty where it does, or where nobody measured


class Int8(Record):
    """How a model runs in INT8, measured at export on real frames against float32.

    A set of networks is written as their names in the order of `NETWORK_NAMES`, such as ``rlh``.
    """

    networks: tuple[NetworkName, ...]  # the set that was chosen; empty where the model does not survive INT8
    least_psnr: float  # what the choice had to keep, in dB
    # calibrated, measured: what the frames were
    calibrated: str
    measured: str
    # per network that can be used, of each tensor that `int8.to_int8` rounds, the smallest and largest value
    ranges: dict[NetworkName, dict[str, tuple[float, float]]]
    # per set, the lowest agreement of the final frames, each side with its own decisions, in dB
    frame_psnr: dict[str, float]
    network_psnr: dict[NetworkName, float]  # per network, the lowest agreement of its output on the same inputs, in dB
    threshold_flips: dict[str, int]  # per set, pixels of the driving masks that the perturbation decides otherwise
    mask_pixels: int  # of all driving masks
    engine_psnr: float | None = None  # `frame_psnr` of the chosen set as TensorRT computes it; None without one


class Manifest(Record):
    """What a bundle says of itself.

    Attributes:
        name: the model's name, shown by every command that runs it.
        model: what the networks are.
        weights: how weights are stored; ``float16`` ones are widened when the model is loaded.
        opset: of the ONNX files.
        networks: the four files.
        parity: exported against PyTorch.
        golden: the golden pairs, see `maskanim.golden`; None in bundles of older versions.
        int8: where ``maskanim-export --int8`` looked for it.
        provenance: where the weights come from: command, seed, data, perceptual network, versions.
    """

    format: Literal["maskanim-bundle"] = FORMAT
    format_version: Literal[1, 2] = FORMAT_VERSION
    name: str
    model: ModelSpec
    weights: Literal["float32", "float16"] = "float32"
    opset: int
    networks: dict[NetworkName, NetworkFile]
    parity: Parity | None = None
    golden: BundleFile | None = None
    int8: Int8 | None = None
    provenance: dict[str, Any] = {}


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read the manifest and verify every file against it.

        Raises:
            MaskanimError: not a bundle, another format version, a missing, foreign or changed file.
        """
        subject = f"model {path}"
        manifest = _read_manifest(path, subject)
        for name in NETWORKS:
            _verify(path, manifest.networks[name], subject)
        if manifest.golden is not None:
            _verify(path, manifest.golden, subject)
        return cls(path, manifest)

    def network(self, name: NetworkName) -> Path:
        """The ONNX file of one network."""
        return self.path / self.manifest.networks[name].file


def network_file(name: NetworkName, content: bytes, lowering: tuple[str, ...] = ()) -> NetworkFile:
    """The manifest's entry for a network's content."""
    entry = bundle_file(f"{name}.onnx", content).model_dump()
    return NetworkFile(**entry, signature=NETWORKS[name], lowering=lowering)


def bundle_file(file: str, content: bytes) -> BundleFile:
    """The manifest's entry for a file's content."""
    return BundleFile(file=file, sha256=hashlib.sha256(content).hexdigest(), size=len(content))


def write_bundle(
    path: Path, manifest: Manifest, contents: Mapping[NetworkName, bytes], golden: bytes | None = None
) -> Bundle:
    """Write a bundle to `path`, replacing an older bundle there; on failure what was there stays as it was.

    Args:
        contents: of the files that the manifest lists for the networks.
        golden: of the one that it lists for the golden pairs; None: there are none, whatever the manifest says.

    Plans in the older bundle are kept if every network is the same to the byte.

    Raises:
        MaskanimError: the place holds something that is not a bundle, or cannot be written.
    """
    check_bundle_place(path)
    if golden is None:
        manifest = manifest.model_copy(update={"golden": None})
    with sibling_folder(path) as partial:
        if golden is not None and manifest.golden is not None:
            (partial / manifest.golden.file).write_bytes(golden)
        for name, content in contents.items():
            (partial / manifest.networks[name].file).write_bytes(content)
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        Bundle.open(partial)
        _keep_plans(path, partial, manifest)
        replace_folder(partial, path)
    return Bundle.open(path)


def copy_bundle(bundle: Bundle, path: Path) -> Bundle:
    """Write the same bundle, without engines, to another place; see `write_bundle`."""
    manifest = bundle.manifest
    contents = {name: bundle.network(name).read_bytes() for name in NETWORKS}
    golden = (bundle.path / manifest.golden.file).read_bytes() if manifest.golden else None
    return write_bundle(path, manifest, contents, golden)


def check_bundle_place(path: Path) -> None:
    """Refuse, before any work, a place where no bundle can be written."""
    subject, wanted = f"output {path}", "a new folder's path, or an older bundle to replace"
    if not path.parent.is_dir():
        received = f"the folder {path.parent} does not exist"
        raise MaskanimError(subject, received, "an existing folder", "Create it first")
    if path.exists() and not (path / MANIFEST).is_file():
        raise MaskanimError(subject, "something that is not a bundle", wanted)
    try:
        with sibling_folder(path):
            pass
    except OSError as error:
        raise MaskanimError(subject, f"not writable ({error.strerror})", "a folder that can be written") from None


def _keep_plans(old: Path, new: Path, manifest: Manifest) -> None:
    if not (old / PLANS).is_dir():
        return
    try:
        networks = Bundle.open(old).manifest.networks
    except MaskanimError:
        return
    if all(networks[name].sha256 == manifest.networks[name].sha256 for name in NETWORKS):
        shutil.copytree(old / PLANS, new / PLANS, ignore=shutil.ignore_patterns(".*"))


def _read_manifest(path: Path, subject: str) -> Manifest:
    wanted = "a bundle written by maskanim-export"
    if not path.is_dir():
        found = "a file" if path.exists() else "no such folder"
        raise MaskanimError(subject, found, wanted)
    try:
        values = json.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise MaskanimError(subject, f"no {MANIFEST} in it", wanted) from None
    except (OSError, ValueError, RecursionError):
        raise MaskanimError(subject, f"an unreadable {MANIFEST}", wanted, "Export it again") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise MaskanimError(subject, f"a {MANIFEST} of something else", wanted)
    if values.get("format_version") not in READABLE:
        received = f"format version {values.get('format_version')}"
        expected = f"version {' or '.join(map(str, READABLE))}, which this maskanim reads"
        next_step = "Export it again, or install the maskanim that wrote it"
        raise MaskanimError(subject, received, expected, next_step)
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MaskanimError(f"{subject}, {MANIFEST}", f"{where}: {first['msg']}", wanted, "Export it again") from None
    subject = f"{subject}, {MANIFEST}"
    missing = [name for name in NETWORKS if name not in manifest.networks]
    if missing:
        raise MaskanimError(subject, f"no network {', '.join(missing)}", "all of m, r, l and h")
    foreign = [n for n, spec in NETWORKS.items() if manifest.networks[n].signature != spec]
    if foreign:
        raise MaskanimError(subject, f"another signature of {', '.join(foreign)}", "this maskanim's")
    return manifest


def _verify(path: Path, entry: BundleFile, subject: str) -> None:
    again = "Export it again, or copy it again from where it is whole"
    subject, file = f"{subject}, {entry.file}", path / entry.file
    try:
        size = file.stat().st_size  # of a device, 0: it is not read, as it may have no end
        content = file.read_bytes() if size == entry.size else b""
    except OSError as error:
        raise MaskanimError(subject, error.strerror or "unreadable", "a readable file", again) from None
    if size != entry.size:
        raise MaskanimError(subject, f"{size} bytes", f"{entry.size}", again)
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise MaskanimError(subject, "changed since it was written", f"sha256 {entry.sha256}", again)
