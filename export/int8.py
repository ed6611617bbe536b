"""INT8 for a bundle: ranges from real frames, and the networks that keep the final frame, found by search.

Everything is measured with ONNX Runtime, whose results in INT8 equal OpenVINO's to 55 dB and more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from onnxruntime.quantization import CalibrationDataReader, create_calibrator
from torch import Tensor

from maskanim.bundle import FORMAT_VERSION, Bundle, Difference, Int8, check_bundle_place, copy_bundle
from maskanim.export.frames import read_pairs, spread
from maskanim.export.parity import FramePair, NetworkFunctions, Reference, compare, onnx_function, run_reference
from maskanim.int8 import require_limit, rounded_tensors, to_int8
from maskanim.ops import Array
from maskanim.progress import NO_PROGRESS, Progress
from maskanim.spec import NETWORK_NAMES, NETWORKS, NetworkName

logger = logging.getLogger(__name__)

LEAST_PSNR = 40.0  # dB of the final frame against float32: two and a half grey levels
CALIBRATION_FRAMES = 24  # of a clip
MEASURED_PAIRS = 4
# Billions of operations of the full networks, by which the best of the sets that keep the frame is chosen.
WORK: dict[NetworkName, float] = {"m": 1.4, "r": 4.9, "l": 79.1, "h": 118.6}

Ranges = dict[str, tuple[float, float]]


def quantize_bundle(
    bundle: Bundle,
    calibrate: Sequence[Path] = (),
    frames: Sequence[Path] = (),
    least_psnr: float = LEAST_PSNR,
    progress: Progress = NO_PROGRESS,
    out: Path | None = None,
) -> Bundle:
    """Find out how a bundle runs in INT8, and write that into its manifest; its other files stay as they are.

    Args:
        bundle: exported before.
        calibrate: pictures, folders or videos that give the ranges. Empty: those of `frames` that are not measured.
        frames: those to measure on, as of `export_bundle`.
        least_psnr: what the final frame has to keep, in dB.
        progress: counts sets of networks.
        out: where a copy goes that has it, while the bundle stays as it is. None: into the bundle itself.

    Raises:
        MaskanimError: frames that cannot be read, a weight that is not finite, a limit that is none, or a place that
            cannot be written.
    """
    out = out or bundle.path
    require_limit(least_psnr)
    check_bundle_place(out)
    pairs = read_pairs(frames, CALIBRATION_FRAMES)
    measured = spread(pairs, MEASURED_PAIRS)
    others = [pair for pair in pairs if not any(pair is each for each in measured)]
    calibration = read_pairs(calibrate, CALIBRATION_FRAMES) if calibrate else others or pairs
    contents = {name: bundle.network(name).read_bytes() for name in NETWORK_NAMES}
    floats = {name: onnx_function(content, name) for name, content in contents.items()}
    tensors = {name: rounded_tensors(content) for name, content in contents.items()}
    logger.info("calibrating INT8 on %d pairs of frames", len(calibration))
    ranges = _ranges(contents, tensors, [_reference(bundle, floats, pair) for pair in calibration])
    references = [_reference(bundle, floats, pair) for pair in measured]
    rounded = {n: onnx_function(to_int8(contents[n], ranges[n]), n) for n in NETWORK_NAMES}
    found = _search(references, floats, rounded, least_psnr, progress)
    kept = [names for names, difference in found.items() if difference.own_frame_psnr >= least_psnr]
    chosen = max(kept, key=lambda names: sum(WORK[n] for n in NETWORK_NAMES if n in names), default="")
    engines = {n: onnx_function(to_int8(contents[n], ranges[n], engine=True), n) for n in NETWORK_NAMES if n in chosen}
    usable = {n for names in kept for n in names}
    int8 = Int8(
        networks=tuple(n for n in NETWORK_NAMES if n in chosen),
        least_psnr=least_psnr,
        calibrated=f"{len(calibration)} pairs of {_kind(calibrate or frames)} frames",
        measured=f"{len(references)} pairs of {_kind(frames)} frames",
        ranges={n: ranges[n] for n in NETWORK_NAMES if n in usable},
        frame_psnr={names: difference.own_frame_psnr for names, difference in found.items()},
        network_psnr={n: found[n].network_psnr[n] for n in NETWORK_NAMES},
        threshold_flips={names: difference.threshold_flips for names, difference in found.items()},
        mask_pixels=found["m"].mask_pixels,
        engine_psnr=_mixed(references, floats, engines).own_frame_psnr if chosen else None,
    )
    manifest = bundle.manifest.model_copy(update={"int8": int8, "format_version": FORMAT_VERSION})
    return copy_bundle(Bundle(bundle.path, manifest), out)


def _kind(frames: Sequence[Path]) -> str:
    return "given" if frames else "the embedded demo"


def _reference(bundle: Bundle, functions: Mapping[NetworkName, Any], pair: FramePair) -> Reference:
    """What the bundle's own files make of a pair, which equals PyTorch as the export has proved."""

    def on_tensors(name: NetworkName) -> Any:
        def run(*inputs: Tensor) -> Tensor:
            return torch.from_numpy(functions[name](*(x.numpy() for x in inputs)))

        return run

    return run_reference(NetworkFunctions(*map(on_tensors, NETWORK_NAMES)), bundle.manifest.model.perturbation, pair)


class _Inputs(CalibrationDataReader):  # type: ignore[misc]
    """What one network was given, for ONNX Runtime's calibration."""

    def __init__(self, name: NetworkName, references: Sequence[Reference]) -> None:
        names = [spec.name for spec in NETWORKS[name].inputs]
        calls = (call for reference in references for call in reference.calls if call.name == name)
        self.feeds = (dict(zip(names, call.inputs, strict=True)) for call in calls)

    def get_next(self) -> dict[str, Array] | None:
        return next(self.feeds, None)


def _ranges(
    contents: Mapping[NetworkName, bytes], tensors: Mapping[NetworkName, list[str]], references: Sequence[Reference]
) -> dict[NetworkName, Ranges]:
    found = {}
    with TemporaryDirectory(prefix="maskanim-int8-") as folder:
        for name, content in contents.items():
            file, augmented = Path(folder, f"{name}.onnx"), Path(folder, f"{name}-augmented.onnx")
            file.write_bytes(content)
            calibrator = create_calibrator(file, augmented_model_path=str(augmented))
            calibrator.collect_data(_Inputs(name, references))
            data = calibrator.compute_data().data
            found[name] = {t: (data[t].lowest.item(), data[t].highest.item()) for t in tensors[name]}
    return found


def _search(
    references: Sequence[Reference],
    floats: Mapping[NetworkName, Any],
    rounded: Mapping[NetworkName, Any],
    least_psnr: float,
    progress: Progress,
) -> dict[str, Difference]:
    """Every set of networks against float32, but those of which a part alone already falls below the limit."""
    found: dict[str, Difference] = {}
    sets = [names for size in range(1, 5) for names in combinations(NETWORK_NAMES, size)]
    for done, names in enumerate(sets):
        progress.update(done, len(sets), "INT8 in " + " and ".join(names))
        parts = ("".join(part) for part in combinations(names, len(names) - 1) if part)
        if all(part in found and found[part].own_frame_psnr >= least_psnr for part in parts):
            found["".join(names)] = _mixed(references, floats, {n: rounded[n] for n in names})
    return found


def _mixed(
    references: Sequence[Reference], floats: Mapping[NetworkName, Any], rounded: Mapping[NetworkName, Any]
) -> Difference:
    return compare(references, NetworkFunctions(**{**floats, **rounded}))
