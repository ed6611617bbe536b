"""maskanim-run: a picture and a driving video to a video, or many of them."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from maskanim.errors import MaskanimError, one_line_errors, run_command
from maskanim.logs import show_logs
from maskanim.progress import ProgressBar
from maskanim.runtime.backends import RunOptions

if TYPE_CHECKING:
    from maskanim.runtime.animator import Animator
    from maskanim.runtime.jobs import Job, Pair, RenderOne, RenderSettings, Summary
    from maskanim.runtime.jobs.process import Opening

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
TIMES, FRAMING, SEEING, LIVE = "Which part, and when", "Framing", "Seeing", "Live"
KEEPING, ENGINE, CLUSTER = "Keeping", "Model and engine", "Many machines"


def _option(panel: str, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


class _RunCommand(TyperCommand):
    """--ray alone means --ray=local: Typer knows no option whose value may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click's Command."""
        follows = [*args, "-"][1:]
        alone = [name == "--ray" and after.startswith("-") for name, after in zip(args, follows, strict=True)]
        return super().parse_args(ctx, [f"{name}=local" if it else name for name, it in zip(args, alone, strict=True)])


@app.command(cls=_RunCommand)
@one_line_errors
def run(
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="The picture to animate, or a video; a folder of them, or a quoted pattern. May be repeated."
        ),
    ] = None,
    driving: Annotated[
        list[str] | None,
        typer.Option(
            help="What drives it: a video, a folder of frames, a strip, a picture, a motion file, 'camera:0', or '-', "
            "standard input; a folder of clips, or a quoted pattern. May be repeated."
        ),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Instead of both: a CSV file with the columns source, driving and maybe output.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The .mp4, .mov or .webm to write; for several pairs a folder. (default: <source>-<driving>.mp4 here)",
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Run the embedded demo; what is given above replaces that part of it.")
    ] = False,
    frame: Annotated[int, _option(TIMES, "Which frame of a source that is a video, from 0.")] = 0,
    start: Annotated[str | None, _option(TIMES, "Where the driver begins: seconds or hh:mm:ss.")] = None,
    end: Annotated[str | None, _option(TIMES, "Where it ends.")] = None,
    fps: Annotated[str | None, _option(TIMES, "A constant rate instead of the driver's own times.")] = None,
    loop: Annotated[int, _option(TIMES, "How often the driver is shown.")] = 1,
    duration: Annotated[str | None, _option(TIMES, "How long it is shown, over and over, instead of --loop.")] = None,
    audio_track: Annotated[int | None, _option(TIMES, "The driver's audio track, from 1; else the default.")] = None,
    video_track: Annotated[int | None, _option(TIMES, "Its video track, from 1; else the default.")] = None,
    crop: Annotated[
        str, _option(FRAMING, "'center', 'auto' (the model's own mask finds the object), or x,y,width,height.")
    ] = "center",
    crop_driving: Annotated[
        str | None, _option(FRAMING, "The same for the driver. (default: 'auto' with --crop auto, else 'center')")
    ] = None,
    paste_back: Annotated[bool, _option(FRAMING, "Put the result back into the picture.", "--paste-back")] = False,
    keep_alpha: Annotated[
        bool, _option(FRAMING, "A transparent source gives a transparent .mov or .webm.", "--keep-alpha")
    ] = False,
    background: Annotated[str, _option(FRAMING, "Else this colour comes below it.")] = "white",
    grid: Annotated[bool, _option(SEEING, "All steps side by side, as the paper's Figure 4.", "--grid")] = False,
    side_by_side: Annotated[bool, _option(SEEING, "Source, driver and result in a row.", "--side-by-side")] = False,
    save_masks: Annotated[Path | None, _option(SEEING, "A folder for the masks as PNGs.")] = None,
    save_motion: Annotated[Path | None, _option(SEEING, "A motion file (.mmot), which drives other sources.")] = None,
    preview: Annotated[Path | None, _option(SEEING, "A contact sheet of the result, a picture.")] = None,
    label: Annotated[str | None, _option(SEEING, "A text to write into every frame, e.g. 'synthetic'.")] = None,
    live: Annotated[
        bool,
        _option(LIVE, "The freshest frame at once, of a camera or a clip; late frames are dropped.", "--live"),
    ] = False,
    to: Annotated[
        list[str] | None,
        _option(LIVE, "'page', 'page:PORT', 'camera' (a virtual one), or a video file. (default: page)"),
    ] = None,
    host: Annotated[str | None, _option(LIVE, "The address that the page listens on. (default: 127.0.0.1)")] = None,
    resume: Annotated[bool, _option(KEEPING, "Go on with a render that was stopped.", "--resume")] = False,
    provenance: Annotated[
        bool | None,
        _option(
            KEEPING,
            "Sign the video as synthetic (C2PA). (default: where the extra 'provenance' is installed)",
            "--provenance/--no-provenance",
        ),
    ] = None,
    engine: Annotated[
        str,
        _option(
            ENGINE,
            "'trt' or 'rtx' (TensorRT and TensorRT-RTX; engines are built where they are missing), 'ort-cuda', "
            "'openvino', 'ort', or 'auto': the first of them that works.",
        ),
    ] = "auto",
    model: Annotated[
        str | None, _option(ENGINE, "A bundle's folder, or 'demo'. (default: the one exported last, else the demo)")
    ] = None,
    batch: Annotated[int, _option(ENGINE, "Frames that go through the networks together, for throughput.")] = 1,
    precision: Annotated[str, _option(ENGINE, "Of an engine on a GPU: 'fp16', 'fp32' or 'int8'.")] = "fp16",
    least_psnr: Annotated[
        float, _option(ENGINE, "What a frame keeps where a processor runs networks in BF16 or INT8, in dB.")
    ] = 45.0,
    cuda_binding: Annotated[str, _option(ENGINE, "What drives the GPU: 'cuda-core' or 'pycuda'.")] = "cuda-core",
    no_graph: Annotated[
        bool, _option(ENGINE, "On a GPU, launch a frame's work step by step, which is slower.", "--no-graph")
    ] = False,
    ray: Annotated[
        str | None,
        _option(
            CLUSTER,
            "Several pairs on a Ray cluster: 'auto', its address, or nothing: RAY_ADDRESS, else this machine. A worker "
            "for each GPU, or else for some cores. All machines see the files under the same paths.",
            metavar="[ADDRESS]",
        ),
    ] = None,
    ray_cores: Annotated[
        int | None, _option(CLUSTER, "Of each worker without a GPU. (default: 4, or as many as there are)", min=1)
    ] = None,
) -> None:
    """Animate a picture by a driving video, with the video's timestamps and audio."""
    show_logs()
    from maskanim.runtime.framing import parse_crop
    from maskanim.runtime.jobs import Extras, Places, RenderSettings, several, single
    from maskanim.runtime.jobs.process import Opening
    from maskanim.video import parse_rate, parse_time

    if grid and side_by_side:
        raise MaskanimError("--grid", "together with --side-by-side", "one of the two")
    settings = RenderSettings(
        crop=parse_crop(crop),
        driving_crop=parse_crop(crop_driving or ("auto" if crop == "auto" and not live else "center")),
        source_frame=frame,
        background=background,
        keep_alpha=keep_alpha,
        paste_back=paste_back,
        start=None if start is None else parse_time(start, "--start"),
        end=None if end is None else parse_time(end, "--end"),
        fps=None if fps is None else parse_rate(fps, "--fps"),
        loop=loop,
        duration=None if duration is None else parse_time(duration, "--duration"),
        audio=audio_track,
        video=video_track,
        view="grid" if grid else "side-by-side" if side_by_side else "frame",
        label=label,
        provenance=provenance,
        resume=resume,
    )
    listed = _pairs(source, driving, pairs, demo)
    options = RunOptions(batch, precision, cuda_binding, not no_graph, least_psnr)
    opening = Opening(model or ("demo" if demo else None), engine, options)
    if live:
        unlike: dict[str, object] = {
            "--ray": ray,
            "--pairs": pairs,
            "--batch": batch != 1,
            "--output": output,
            "--grid": grid,
        }
        unlike |= {"--resume": resume, "--save-motion": save_motion, "--save-masks": save_masks, "--preview": preview}
        unlike |= {"--audio-track": audio_track, "--ray-cores": ray_cores}
        _live(listed, settings, [flag for flag, given in unlike.items() if given], opening, to or ["page"], host)
        return
    if to or host:
        raise MaskanimError("--to" if to else "--host", "without --live", "both")
    suffix = ".mov" if keep_alpha else ".mp4"
    if demo and output is None and ray is None and len(listed) == 1:
        output = Path(f"maskanim-demo{suffix}")
    places = Places(output, suffix, Extras(save_motion, save_masks, preview))
    if ray_cores and ray is None:
        raise MaskanimError("--ray-cores", "without --ray", "both")
    if ray is None and pairs is None and len(listed) == 1:
        _render(single(listed[0], places), settings, opening)
        return
    jobs = several(listed, places)
    summary = _render_all(jobs, settings, opening) if ray is None else _on_ray(jobs, settings, opening, ray, ray_cores)
    for line in summary.lines():
        typer.echo(line)
    if summary.failed or summary.left:
        raise typer.Exit(1)


def _pairs(source: list[str] | None, driving: list[str] | None, pairs: Path | None, demo: bool) -> list[Pair]:
    from maskanim.runtime.jobs import cross, read_pairs

    if pairs:
        if source or driving:
            raise MaskanimError("--pairs", "together with --source or --driving", "the pairs alone")
        return read_pairs(pairs)
    if demo:
        from maskanim.models import DEMO

        source, driving = source or [str(DEMO / "source.png")], driving or [str(DEMO / "driving.mp4")]
    if not source or not driving:
        missing = " and ".join(flag for flag, value in (("--source", source), ("--driving", driving)) if not value)
        raise MaskanimError("maskanim-run", f"no {missing}", "both --source and --driving", "Or try it with --demo")
    return cross(source, driving)


def _render(job: Job, settings: RenderSettings, opening: Opening) -> None:
    from maskanim.runtime.jobs import Interrupts, open_inputs, render

    with ExitStack() as opened:
        inputs = opened.enter_context(open_inputs(job, settings))  # whatever is wrong shows before a model is loaded
        animator, bar = opened.enter_context(_open(opening)), opened.enter_context(ProgressBar("frame"))
        show_logs(bar.console)
        with (interrupts := Interrupts()).heard():
            done = render(animator, job, settings, inputs, _Pace(bar), interrupts)
    kept = f" behind {done.kept} that were whole" if done.kept else ""
    counted = f"{done.frames} frames{kept} in {done.seconds:.1f} s, {done.rate:.1f} frames/s end to end"
    typer.echo(f"{done.output}: {counted}")


def _render_all(jobs: list[Job], settings: RenderSettings, opening: Opening) -> Summary:
    from maskanim.runtime.jobs import Interrupts, render_all, render_unless_there
    from maskanim.runtime.jobs.process import ForwardingInterrupts, RenderProcess
    from maskanim.video.read import STANDARD_INPUT

    with ExitStack() as opened:
        bar = opened.enter_context(ProgressBar("frame"))
        show_logs(bar.console)
        if os.name == "nt" and any(job.driving == STANDARD_INPUT for job in jobs):  # where no child inherits it
            animator, interrupts = opened.enter_context(_open(opening)), Interrupts(several=True)
            render_one: RenderOne = partial(
                render_unless_there, animator, settings, progress=_Pace(bar), interrupts=interrupts
            )
        else:
            process = opened.enter_context(RenderProcess(opening, settings, _Pace(bar)))
            typer.echo("\n".join(process.running))
            render_one, interrupts = process, ForwardingInterrupts(process)
        with interrupts.heard():
            return render_all(jobs, render_one, interrupts)


def _on_ray(jobs: list[Job], settings: RenderSettings, opening: Opening, address: str, cores: int | None) -> Summary:
    from maskanim.runtime.jobs import Interrupts, make_folders, summarize
    from maskanim.runtime.jobs.cluster import RayWorkers, check_for_cluster

    check_for_cluster(jobs)
    make_folders(jobs)
    with ExitStack() as opened:
        bar = opened.enter_context(ProgressBar("job"))
        show_logs(bar.console)
        workers = opened.enter_context(RayWorkers(address, cores, opening, settings, bar))
        typer.echo("\n".join(workers.running))
        with (interrupts := Interrupts(several=True)).heard():
            return summarize(jobs, workers.outcomes(jobs, interrupts))


def _live(
    listed: list[Pair],
    settings: RenderSettings,
    excluded: list[str],
    opening: Opening,
    to: list[str],
    host: str | None,
) -> None:
    from maskanim.runtime.jobs import Interrupts, Job
    from maskanim.runtime.jobs.interrupts import RECORDING
    from maskanim.runtime.live import FileOutput
    from maskanim.runtime.live.command import animate_live, kind_of, open_live, open_outputs
    from maskanim.runtime.live.hosts import LOOPBACK, is_loopback

    if excluded or len(listed) != 1:
        found = f"together with {excluded[0]}" if excluded else f"{len(listed)} pairs"
        raise MaskanimError("--live", found, "one source and one driver; with --to FILE it is recorded")
    paged = any(kind_of(name) == "page" for name in to)
    if host and not paged:
        raise MaskanimError("--host", "without a page, which alone listens", "--to page")
    host = host or LOOPBACK
    job = Job(listed[0].source, listed[0].driving, Path())
    with open_live(job, settings, to) as inputs, _open(opening) as animator:
        outputs = open_outputs(to, host, inputs.clip, animator, settings)
        for output in outputs:
            typer.echo(f"live: {output.place} (end it with Ctrl-C)")
        if not is_loopback(host) and paged:
            typer.echo(f"warning: everyone who reaches {host} can watch")
        told = RECORDING if any(isinstance(output, FileOutput) for output in outputs) else "it ends"
        with Interrupts(recording=inputs.clip, told=told).heard(), ProgressBar("frame") as bar:
            show_logs(bar.console)
            report = animate_live(animator, inputs, settings, outputs, bar)
    typer.echo(f"live: ended; {report}")
    if report.lost:
        raise report.lost


def _open(opening: Opening) -> Animator:
    animator = opening.open()
    typer.echo("\n".join(animator.lines()))
    return animator


class _Pace:
    """Shows the frames of one render after the other, with their speed."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._first = self._last = 0
        self._began = monotonic()

    def update(self, done: int, total: int | None, note: str = "") -> None:
        if done <= self._last or not self._last:
            self._first, self._began = done, monotonic()
        self._last = done
        passed = max(monotonic() - self._began, 1e-9)
        self._bar.update(done, total, f"{(done - self._first) / passed:.1f} frames/s" if done > self._first else "")


def main() -> None:
    """Entry point of maskanim-run."""
    # OpenVINO imports its model converter where it finds it, and with it a web client: 60 ms that nothing here uses.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    run_command(app)


if __name__ == "__main__":
    main()
