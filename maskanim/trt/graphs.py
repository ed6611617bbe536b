"""The graph that an engine is built of: a bundle's ONNX file in the precision that is asked for."""

from __future__ import annotations

import hashlib
import json

from maskanim.bundle import Bundle, Manifest
from maskanim.errors import MaskanimError
from maskanim.half import require_half, to_half
from maskanim.int8 import to_int8
from maskanim.spec import NetworkName
from maskanim.trt.records import Precision


def engine_graph(bundle: Bundle, name: NetworkName, precision: Precision, extra: str) -> bytes:
    """A network's ONNX file: float32, FP16, or FP16 with Q/DQ around the convolutions of what runs in INT8.

    Args:
        precision: of the engine; `require_precision` has found nothing against it.
        extra: what to install where the package onnx is missing.

    Raises:
        MaskanimError: a network that cannot be made half.
        MissingPackageError: no onnx.
    """
    content = bundle.network(name).read_bytes()
    if precision == "fp32":
        return content
    half, ranges = to_half(content, name, extra=extra), _ranges(bundle.manifest, name, precision)
    return to_int8(half, ranges, engine=True, extra=extra) if ranges else half


def source_hash(manifest: Manifest, name: NetworkName, precision: Precision) -> str:
    """The SHA-256 of all of a bundle that `engine_graph` depends on."""
    file, ranges = manifest.networks[name].sha256, _ranges(manifest, name, precision)
    return hashlib.sha256(json.dumps([file, ranges]).encode()).hexdigest() if ranges else file


def require_precision(manifest: Manifest, precision: Precision, least_psnr: float = 0.0) -> None:
    """Raise a MaskanimError where the export found that a model does not survive a precision, or nobody looked.

    Args:
        least_psnr: what the final frame has to keep in INT8, in dB.
    """
    if precision != "fp32":
        require_half(manifest)
    if precision != "int8":
        return
    int8, wanted = manifest.int8, "a model whose frames INT8 keeps"
    if int8 is None:
        next_step = "Run maskanim-export --int8 --model on it, or use --precision fp16"
        raise MaskanimError("INT8", "nobody has examined this model", wanted, next_step)
    if not int8.networks or int8.engine_psnr is None or not int8.engine_psnr >= max(int8.least_psnr, least_psnr):
        told = f"its final frame keeps {int8.engine_psnr:.1f} dB" if int8.engine_psnr else "all of it stays in float"
        limit = f"at least {max(int8.least_psnr, least_psnr):g} dB"
        raise MaskanimError("INT8", f"this model does not survive it: {told}", limit, "Use --precision fp16")


def _ranges(manifest: Manifest, name: NetworkName, precision: Precision) -> dict[str, tuple[float, float]] | None:
    int8 = manifest.int8
    return int8.ranges[name] if precision == "int8" and int8 and name in int8.networks else None
