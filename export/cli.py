"""maskanim-export: from a checkpoint to a bundle."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, cast

import typer

from maskanim import models
from maskanim.bundle import Bundle, HalfParity, Int8
from maskanim.errors import MaskanimError, needs_extra, one_line_errors, run_command
from maskanim.export.engines import build_requested, parse_engine
from maskanim.export.triton import Serving, check_repository, write_repository
from maskanim.int8 import require_limit
from maskanim.logs import show_logs
from maskanim.progress import ProgressBar
from maskanim.spec import NetworkName
from maskanim.trt.store import StoredEngines

# Options by what they belong to.
OWNED = {
    ("int8",): {"calibrate", "int8_psnr"},
    ("triton",): {"triton_engine", "triton_sequences", "triton_idle", "triton_least_psnr"},
    ("ckpt", "int8"): {"out", "frames"},
    ("ckpt",): {"name", "weights", "threshold", "released_animate", "no_register", "engine", "precision", "batch"}
    | {"targets", "opt_level", "version_compatible", "hardware_compatible", "strip_weights", "timing_cache"},
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@one_line_errors
def export(
    context: typer.Context,
    ckpt: Annotated[
        Path | None, typer.Option(help="last.pt of maskanim-train, or the released code's *-checkpoint.pth.tar.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The bundle's folder; an older one there is replaced. (default: <ckpt>.bundle beside it, or --model)"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name. (default: the checkpoint's folder)")] = None,
    weights: Annotated[str, typer.Option(help="'float32', or 'float16': half the size, rounded.")] = "float32",
    frames: Annotated[
        list[Path] | None,
        typer.Option(help="Picture, folder or video to verify on; may be repeated. (default: the embedded demo's)"),
    ] = None,
    threshold: Annotated[
        int | None,
        typer.Option(min=0, max=255, help="For the released code's checkpoints: the th of their configuration."),
    ] = None,
    released_animate: Annotated[
        bool,
        typer.Option("--released-animate", help="For the same: floor and shrink perturbed masks as their code does."),
    ] = False,
    no_register: Annotated[
        bool, typer.Option("--no-register", help="Do not make this the model that runs by default.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also find out which networks run in INT8; needs no --ckpt.")
    ] = False,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(help="Picture, folder or video that INT8 is calibrated on; may be repeated. (default: --frames)"),
    ] = None,
    int8_psnr: Annotated[float, typer.Option(help="What INT8 has to keep of the final frame, in dB.")] = 40.0,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Also build plans: 'rtx' by TensorRT-RTX, anywhere; 'trt' by TensorRT, on the GPU that will run them."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the plans: 'fp16', 'fp32' or 'int8'. (default: fp16)")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Of the plans: MIN:OPT:MAX frames. (default: 1:1:8)")] = None,
    targets: Annotated[
        str | None,
        typer.Option(help="With rtx: for which GPUs, e.g. 'sm86,sm120' (default: sm80, sm86, sm89, sm120 and newer)"),
    ] = None,
    opt_level: Annotated[
        int | None, typer.Option(help="How hard the builder looks for fast kernels, 0 to 5. (default: 3)")
    ] = None,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible", help="With trt: for newer TensorRT of the same major, and for its lean runtime."
        ),
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="With trt: for every GPU from Ampere on; slower.")
    ] = False,
    strip_weights: Annotated[
        bool,
        typer.Option(
            "--strip-weights", help="With trt: small plans, whose weights come from the ONNX files when opened."
        ),
    ] = False,
    timing_cache: Annotated[
        Path | None,
        typer.Option(help="With trt: a file of the builder's measurements, for a fleet of equal GPUs to share."),
    ] = None,
    triton: Annotated[
        Path | None,
        typer.Option(help="Also write a model repository for NVIDIA's Triton Inference Server; needs no --ckpt."),
    ] = None,
    triton_engine: Annotated[str, typer.Option(help="What runs the networks there.")] = "auto",
    triton_sequences: Annotated[int, typer.Option(help="Clips at a time, for each GPU.")] = 8,
    triton_idle: Annotated[float, typer.Option(help="Seconds after which a silent client's clip has ended.")] = 10.0,
    triton_least_psnr: Annotated[
        float, typer.Option(help="What its frames keep where a processor runs networks in BF16 or INT8, in dB.")
    ] = 45.0,
    model: Annotated[
        str | None,
        typer.Option(help="For --int8 and --triton without --ckpt: a bundle or 'demo'. (default: the current model)"),
    ] = None,
) -> None:
    """Export a checkpoint to a bundle that maskanim-run takes, verified against PyTorch."""
    serving = Serving(
        engine=triton_engine, sequences=triton_sequences, idle_seconds=triton_idle, least_psnr=triton_least_psnr
    )
    if triton:
        check_repository(triton, serving)
    if ckpt is None:
        if triton is None and not int8:
            wanted = "Or --int8 or --triton DIR, for a model you have"
            raise MaskanimError("maskanim-export", "no --ckpt", "a checkpoint", wanted)
        _refuse_idle(context)
        bundle = models.choose(model).bundle
        if int8 and out is None and bundle.path.resolve() == (models.DEMO / "bundle").resolve():
            wanted = "--out DIR, for a copy of it"
            raise MaskanimError("--int8", "the embedded demo, which is part of the package", wanted)
        if int8:
            bundle = _quantize(bundle, calibrate, frames, int8_psnr, out)
        if triton:
            typer.echo(f"triton: {write_repository(bundle, triton, serving)}")
        return
    _refuse_idle(context)
    if model:
        raise MaskanimError("--model", "together with --ckpt", "one of the two")
    if precision == "int8" and not int8:
        raise MaskanimError("--precision int8", "without --int8", "both")
    request = parse_engine(
        engine,
        precision=precision,
        batch=batch,
        targets=targets,
        opt_level=opt_level,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        strip_weights=strip_weights,
        timing_cache=timing_cache,
    )
    require_limit(int8_psnr)
    if not no_register:
        models.check_register()
    _need_onnxruntime()
    # Read when PyTorch is imported: threads that wait do not spin, which on a busy machine takes a third of the time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with needs_extra("maskanim-export", "export"):
        from maskanim.export.build import Weights, export_bundle
    with ProgressBar("percent") as bar:
        show_logs(bar.console)
        bundle = export_bundle(
            ckpt,
            out,
            name=name,
            weights=cast(Weights, weights),
            frames=frames or (),
            threshold=threshold,
            released_animate=released_animate,
            progress=bar,
        )
    if not no_register:
        models.register(bundle)
    _tell(bundle)
    if int8:
        bundle = _quantize(bundle, calibrate, frames, int8_psnr)
    if request is not None:
        with ProgressBar("percent") as bar:
            show_logs(bar.console)
            engines = build_requested(bundle, request, bar)
        _tell_engines(engines)
    if triton:
        typer.echo(f"triton: {write_repository(bundle, triton, serving)}")
    named = f" --model {shlex.quote(str(bundle.path))}" if no_register else ""
    typer.echo(f"Next: maskanim-run{named} --source PICTURE --driving CLIP")


def _refuse_idle(context: typer.Context) -> None:
    """Refuse options that would do nothing without another one."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    for owners, options in OWNED.items():
        idle = [name for name in context.params if name in given.intersection(options)]
        if idle and not given.intersection(owners):
            wanted = " or ".join(f"--{owner}" for owner in owners)
            raise MaskanimError(f"--{idle[0].replace('_', '-')}", f"without {wanted}", "both")


def _need_onnxruntime() -> None:
    with needs_extra("maskanim-export", "cpu"):  # not in the extra export: on a GPU, onnxruntime-gpu takes its place
        import onnxruntime  # noqa: F401


def _quantize(
    bundle: Bundle,
    calibrate: list[Path] | None,
    frames: list[Path] | None,
    least_psnr: float,
    out: Path | None = None,
) -> Bundle:
    _need_onnxruntime()
    with needs_extra("maskanim-export --int8", "export"):
        from maskanim.export.int8 import quantize_bundle
    with ProgressBar("percent") as bar:
        show_logs(bar.console)
        bundle = quantize_bundle(bundle, calibrate or (), frames or (), least_psnr, bar, out)
    assert bundle.manifest.int8
    _tell_int8(bundle.manifest.int8)
    return bundle


def _tell(bundle: Bundle) -> None:
    manifest, parity = bundle.manifest, bundle.manifest.parity
    typer.echo(f"model: {manifest.name} ({manifest.model.size_name}) in {bundle.path}")
    for entry in manifest.networks.values():
        typer.echo(f"  {entry.file}  {entry.size / 1e6:6.2f} MB  {', '.join(entry.lowering)}")
    total = sum(entry.size for entry in manifest.networks.values())
    typer.echo(f"  in all  {total / 1e6:6.2f} MB, {manifest.weights} weights")
    if parity:
        typer.echo(f"parity: {parity.runtime}, on {parity.frames}")
        _tell_difference("PyTorch", parity.max_difference, parity.frame_psnr)
        typer.echo(f"  {parity.threshold_flips} of {parity.mask_pixels} mask pixels flip at the threshold")
        if parity.rounding:
            _tell_difference("unrounded weights", parity.rounding.max_difference, parity.rounding.frame_psnr)
        if parity.bf16_frame_psnr is not None:
            typer.echo(f"BF16 in r, l and h, as a processor may run them: final frame {parity.bf16_frame_psnr:.1f} dB")
        if parity.half:
            _tell_half(parity.half)


def _tell_difference(reference: str, networks: dict[NetworkName, float], frame_psnr: float) -> None:
    told = ", ".join(f"{name} {value:.1e}" for name, value in networks.items())
    typer.echo(f"  against {reference}: largest difference {told}; final frame {frame_psnr:.1f} dB")


def _tell_half(half: HalfParity) -> None:
    typer.echo(f"FP16 as an engine would compute it, on {half.pairs} of the pairs:")
    _tell_difference("PyTorch", half.max_difference, half.own_frame_psnr)
    where = f", at most {half.flip_distance:.1e} from the threshold" if half.threshold_flips else ""
    largest = ", ".join(f"{name} {value:.3g}" for name, value in half.largest_activation.items())
    typer.echo(f"  {half.threshold_flips} of {half.mask_pixels} mask pixels flip{where}; largest activation {largest}")


def _tell_int8(int8: Int8) -> None:
    typer.echo(f"INT8, calibrated on {int8.calibrated}, measured on {int8.measured}:")
    for names, psnr in int8.frame_psnr.items():
        flips = f", {int8.threshold_flips[names]} of {int8.mask_pixels} mask pixels flip" if "m" in names else ""
        typer.echo(f"  {' '.join(names):7}  final frame {psnr:.1f} dB{flips}")
    limit = f"keep {int8.least_psnr:g} dB of the final frame"
    if int8.networks:
        typer.echo(f"  {' and '.join(int8.networks)} {limit}; as TensorRT computes {int8.engine_psnr:.1f} dB")
    else:
        typer.echo(f"  the model stays in float: in INT8 none of its networks would {limit}")


def _tell_engines(engines: StoredEngines) -> None:
    typer.echo(f"plans: {engines.folder}")
    for entry in engines.record.networks.values():
        inputs = ", ".join(f"{tensor.name} {tensor.dtype}" for tensor in entry.inputs)
        told = f"{inputs} -> {entry.output.name} {entry.output.dtype}"
        typer.echo(f"  {entry.file}  {entry.size / 1e6:6.2f} MB  in {entry.seconds:.1f} s  {told}")


def main() -> None:
    """Entry point of maskanim-export."""
    run_command(app)


if __name__ == "__main__":
    main()
