"""maskanim-bench: how good a model is, and how fast."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from maskanim.benchmarks.outputs import check_outputs, write_json, write_text
from maskanim.benchmarks.scoring import cli as scoring
from maskanim.benchmarks.scoring.cli import Engine, JsonFile, Model, open_model, print_model
from maskanim.errors import MaskanimError, needs_extra, one_line_errors, run_command

if TYPE_CHECKING:
    from maskanim.benchmarks.quality import Figures

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure a model (the named bundle, else the current model, else the embedded demo), or data and training."""


class _PuppetsByDefault(TyperGroup):
    """Options without the name of a command are those of `puppets`, and so is nothing at all."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "--help"}:
            args = ["puppets", *args]
        return super().parse_args(ctx, args)


quality = typer.Typer(cls=_PuppetsByDefault, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(quality, name="quality")


@quality.callback()
def group() -> None:
    """The paper's quality tables: reconstruct, animate, score finished videos or grids; nets are the judges.

    `maskanim-bench quality --grid FILE` is short for `maskanim-bench quality puppets --grid FILE`.
    """


def puppets(
    model: Model = None,
    engine: Engine = "auto",
    identities: Annotated[int, typer.Option(min=1, help="Held-out puppet identities.")] = 64,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each, the source included.")] = 16,
    driving: Annotated[int, typer.Option(min=1, help="Frames of each driver that animates another identity.")] = 8,
    grid: Annotated[
        Path | None, typer.Option(help="Also write sources animated by other identities, a picture.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Rebuild held-out puppets from their first frame, animate them by others; print L1, key-points and identity."""
    from maskanim.video import check_picture_name, write_picture

    check_outputs(grid, json_file)
    if grid:
        check_picture_name(grid)

    from maskanim.benchmarks.quality import animation_grid, reconstruct, transfer
    from maskanim.benchmarks.quality.table import print_quality

    with open_model(model, engine) as animator:
        name = animator.model.manifest.name
        figures = reconstruct({name: animator}, _track("rebuilding", range(identities)), frames)[name]
        numbers = _track("animating", range(identities))
        moved = transfer({f"model {name}": animator}, numbers, driving, references=True)
        print_quality(figures, moved)
        *references, (_, own) = moved.items()
        ran = {"model": name, "engine": animator.engine.detail} | figures.as_dict() | {"transfer": own.as_dict()}
        write_json(json_file, ran | _references(dict(references)))
        if grid:
            write_picture(grid, animation_grid(animator, 6, 8))


def people(
    assets: Annotated[Path, typer.Option(help="MakeHuman's folder data, of which the people are rendered.")],
    model: Model = None,
    engine: Annotated[str, typer.Option(help="What runs the networks: 'openvino' or 'ort'.")] = "auto",
    identities: Annotated[int, typer.Option(min=1, help="Held-out identities, and as many drivers.")] = 64,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each clip, the source included.")] = 16,
    nets: Annotated[
        Path | None, typer.Option("--nets", help="Where the judges lie; else $MASKANIM_NETS, else the cache.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Rebuild held-out rendered people, animate them by others, against the true answer; beside the ablations."""
    from maskanim.benchmarks.judges import Nets
    from maskanim.benchmarks.quality.ablations import open_on_processor
    from maskanim.progress import ProgressBar
    from maskanim.runtime.sessions.host import HostRunner

    check_outputs(json_file)
    with needs_extra("maskanim-bench quality people", "bench"):
        import skimage  # noqa: F401 - judges of the last frames would miss it only after minutes
    with needs_extra("maskanim-bench quality people", "people"):
        from maskanim.benchmarks.quality.people import as_dict, measure_people, open_judges, people_table
        from maskanim.train.people.assets import read_pack
        from maskanim.train.people.clip import Studio

        face = open_judges(Nets(nets))
        studio = Studio(read_pack(assets))
    with open_on_processor(model, engine) as animator, ProgressBar("identity") as bar:
        print_model(animator)
        assert isinstance(animator.runner, HostRunner)  # of every engine on the processor
        rows = measure_people(animator.runner, studio, face, identities, frames, bar)
    people_table(rows, identities, frames).show()
    ran = {"model": animator.model.manifest.name, "engine": animator.engine.detail}
    write_json(json_file, ran | as_dict(rows, studio, face, identities, frames))


# The commands of `maskanim-bench quality`, in the order of its --help. To add one, write it as a function with typer's
# annotations, in a module that imports what is heavy inside of it, and name it here.
for command in (puppets, people, scoring.reconstruct, scoring.animate, scoring.score, scoring.grid, scoring.nets):
    quality.command()(one_line_errors(command))


@app.command()
@one_line_errors
def ablations(
    model: Model = None,
    also: Annotated[
        list[str] | None,
        typer.Option(help="NAME=BUNDLE of a model trained otherwise, such as h_update_l=FOLDER. Repeat for several."),
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs the networks: 'openvino' or 'ort'.")] = "auto",
    identities: Annotated[int, typer.Option(min=1, help="Held-out puppet identities.")] = 64,
    frames: Annotated[int, typer.Option(min=2, help="Frames of each, the source included.")] = 6,
    driving: Annotated[int, typer.Option(min=1, help="Frames of each driver that animates another identity.")] = 4,
    json_file: JsonFile = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Also write the table as Markdown.")] = None,
) -> None:
    """Print the paper's ablations on held-out puppets (Tables 5 and 7): what P_test, r and h each contribute."""
    from maskanim.ablations import FULL
    from maskanim.benchmarks.quality.ablations import measure_ablations, named_bundles, open_models
    from maskanim.benchmarks.quality.table import markdown, print_ablations

    bundles = named_bundles(also or [])
    check_outputs(json_file, markdown_file)
    with open_models(model, bundles, engine) as models:
        print_model(models[FULL])
        rows, references = measure_ablations(models, identities, frames, driving, _track)
        print_ablations(rows, references)
        ran = {"engine": models[FULL].engine.detail, "rows": [row.as_dict() for row in rows]}
        write_json(json_file, ran | _references(references))
        if markdown_file:
            write_text(markdown_file, markdown(rows, references))


@app.command()
@one_line_errors
def latency(
    model: Model = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeat for several; also 'openvino-float' and 'ort-float', which leave out INT8, and PyTorch: the "
            "baselines 'torch-eager', 'torch-fp32', 'torch-bf16', "
            "'torch-fp16', 'torch-compile', and on a GPU inside our pipeline 'torch-graph', 'torch-graph-plain', "
            "'torch-no-graph', 'torch-graph-compile'. Without it, the engines that work here, with "
            "INT8 where the model knows it and without, and torch-eager."
        ),
    ] = None,
    batch: Annotated[str, typer.Option(help="Frames that go through the networks together; '1,8' for both.")] = "1",
    frames: Annotated[int, typer.Option(min=1, help="Frames to time of each, and the clip's length.")] = 50,
    repeats: Annotated[int, typer.Option(min=1, help="Cold starts, and clips from end to end, of each.")] = 5,
    precision: Annotated[str, typer.Option(help="Of engines on a GPU: 'fp16', 'fp32' or 'int8'.")] = "fp16",
    least_psnr: Annotated[
        float, typer.Option(help="What a frame keeps where a processor runs networks in BF16 or INT8, in dB.")
    ] = 45.0,
    cuda_binding: Annotated[str, typer.Option(help="What drives the GPU: 'cuda-core' or 'pycuda'.")] = "cuda-core",
    json_file: JsonFile = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw them, a picture.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of --json instead.")] = False,
) -> None:
    """Time engines and PyTorch in one run, taking turns: cold start, frames, stages, and clips from end to end."""
    from maskanim.benchmarks.latency import records

    if schema:
        typer.echo(json.dumps(records.schema(), indent=2))
        return
    check_outputs(json_file, plot=plot)

    from maskanim.benchmarks.latency.measure import Plan, measure
    from maskanim.benchmarks.latency.tables import print_report
    from maskanim.models import choose
    from maskanim.progress import ProgressBar
    from maskanim.runtime.backends import RunOptions

    options = RunOptions(precision=precision, cuda_binding=cuda_binding, least_psnr=least_psnr)
    plan = Plan(tuple(engine) if engine else None, _batches(batch), frames, repeats, options)
    bundle, why = choose(model)
    typer.echo(f"model: {bundle.manifest.name}, {bundle.manifest.model.size_name} ({why})")
    with ProgressBar("step") as bar:
        report = measure(bundle, plan, bar)
    print_report(report)
    if json_file:
        records.write_report(json_file, report)
    if plot:
        from maskanim.benchmarks.latency.plot import draw_plot

        draw_plot(plot, report)


@app.command()
@one_line_errors
def compare(
    before: Annotated[Path, typer.Argument(help="What 'latency --json' wrote.")],
    after: Annotated[Path, typer.Argument(help="Another of the same machine, to be held against it.")],
    fail_above: Annotated[
        float | None, typer.Option(min=0, help="Exit with 1 if a time grew by more than so many percent, beyond noise.")
    ] = None,
) -> None:
    """Say what changed between two latency runs, and whether it is beyond the noise inside them."""
    from maskanim.benchmarks.latency.compare import compare as compare_reports
    from maskanim.benchmarks.latency.records import read_report
    from maskanim.benchmarks.latency.tables import print_comparison

    comparison = compare_reports(read_report(before), read_report(after))
    print_comparison(comparison)
    failed = [change for change in comparison.changes if fail_above is not None and change.fails(fail_above)]
    for change in failed:
        typer.echo(f"{change.label}, {change.name}: slower by {change.slower:.1f} %", err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
@one_line_errors
def data(
    folders: Annotated[
        list[str], typer.Option("--data", help="A folder of clips, or 'synthetic'. Repeat for several.")
    ],
    pairs: Annotated[int, typer.Option(min=8, help="Pairs to load from each.")] = 400,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load; 0 loads in this one.")] = 1,
    json_file: JsonFile = None,
) -> None:
    """Load training pairs as training does; print images per second, and per second of one core."""
    check_outputs(json_file)
    with needs_extra("maskanim-bench data", "train"):
        from maskanim.benchmarks.training import measure_loading
    rates = []
    for folder in folders:
        rates.append(rate := measure_loading(folder, pairs, workers))
        typer.echo(
            "{data}: {summary}\n"
            "  {images} images: {images_per_second:.0f} a second by the clock (--workers {workers}), "
            "{images_per_core_second:.0f} per second of one core; {damaged} damaged clips passed over".format(**rate)
        )
    write_json(json_file, {"data": rates})


@app.command()
@one_line_errors
def train(
    config: Annotated[str, typer.Option(help="A preset of maskanim-train or a YAML file of settings.")] = "full",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Replaces a setting, e.g. batch=8; repeat.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to time.")] = 3,
    step_batch: Annotated[
        int | None, typer.Option(min=2, help="Pairs of a timed step, where the settings' batch does not fit.")
    ] = None,
    device: Annotated[str, typer.Option(help="'auto', 'cpu' or 'cuda'.")] = "auto",
    json_file: JsonFile = None,
) -> None:
    """Time training steps of all four networks, and P_train with its threshold, on drawn puppets."""
    from maskanim.train.settings import load_settings, parse_changes

    check_outputs(json_file)
    settings = load_settings(config, parse_changes(changes or []))
    with needs_extra("maskanim-bench train", "train"):
        from maskanim.benchmarks.training import measure_training
    times = measure_training(settings, device, steps, step_batch)
    milliseconds, percent = 1000 * times["perturb"], 100 * times["share"]
    typer.echo(
        f"{config} on {times['device']}: a step of {times['step_batch']} pairs {times['step']:.3f} s, "
        f"{times['images_per_second']:.2f} images a second\n"
        f"P_train and its threshold, {times['batch']} masks: {milliseconds:.2f} ms, "
        f"{percent:.3f} % of a step of {times['batch']} pairs"
    )
    write_json(json_file, {"config": config, "training": times})


@app.command()
@one_line_errors
def curve(
    log: Annotated[Path, typer.Argument(help="The log.csv of a training run.", show_default=False)],
    every: Annotated[int, typer.Option(min=1, help="Steps that become one point.")] = 50,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the points as CSV.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them, a picture.")] = None,
) -> None:
    """Average a training run's log into a learning curve."""
    from maskanim.benchmarks.curve import draw_curve, read_curve, write_curve

    check_outputs(csv_file, plot=plot)
    points = read_curve(log, every)
    typer.echo(f"{log}: {len(points)} points up to step {points[-1].step}")
    if csv_file:
        write_curve(csv_file, points)
    if plot:
        draw_curve(plot, points, f"{log.resolve().parent.name}: means over {every} steps")


def _batches(text: str) -> tuple[int, ...]:
    sizes = text.replace(" ", "").split(",")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise MaskanimError(f"--batch {text}", "not a list of batch sizes", "positive numbers such as 1 or 1,8")
    return tuple(map(int, sizes))


def _track(name: str, numbers: range) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import track

    return track(numbers, name, console=Console(stderr=True))


def _references(references: Mapping[str, Figures]) -> dict[str, Any]:
    """What the model's figures are to be held against, and how good the key-points' finder is."""
    from maskanim.benchmarks.judges.puppets import Finder

    return {"references": {name: each.as_dict() for name, each in references.items()}, "finder": Finder.load().about}


def main() -> None:
    """Entry point of maskanim-bench."""
    run_command(app)
