"""Held-out rendered people: rebuilt from their first frame, and animated by others with the true answer beside.

A renderer can do what no camera can: the source's identity, in its own scene, in the driver's motion. What the model
makes of source and driver is held against that answer, pixel by pixel and by judges that look at both alike.

Inside is where the source's or the true frame's foreground covers more than half of a pixel, as for puppets; outside is
the rest. Correlations are within clips: only what moves counts, not that one face is wider than another. The judges
err, too: the row `the true answer` says how far what they see in it is from what the renderer knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.ablations import FULL, TEST_TIME
from maskanim.benchmarks.estimates import Estimate, correlation, ratio
from maskanim.benchmarks.judges import Nets, Observed, Perception, perceive
from maskanim.benchmarks.judges.heads import HEAD, MESH_68
from maskanim.benchmarks.metrics import ssim
from maskanim.benchmarks.quality.ablations import AblatedAnimator
from maskanim.benchmarks.quality.puppets import FIRST_DRIVER, Sums, animated, differences
from maskanim.benchmarks.quality.table import NOTE, Column
from maskanim.benchmarks.tables import Table
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame
from maskanim.progress import Progress
from maskanim.runtime.sessions.host import HostRunner
from maskanim.train.people.clip import PersonFrame, Studio
from maskanim.train.people.dataset import STEP_SECONDS, Order, draw_clip

REPEATED, ANSWER = "the source, repeated", "the true answer"
JUDGES = ("head", "identity")  # features of the subject face
FEWEST = 3  # frames that a correlation is worth computing of
STILL = 1e-9  # a sum of squares below it is rounding

Floats = NDArray[np.float64]
Make = Callable[[Frame, list[Frame]], list[Frame]]  # a source and its drivers to pictures


class Trio(NamedTuple):
    """Clips of as many frames each."""

    own: list[PersonFrame]  # the source's identity in its own motion; the first frame is the source
    driving: list[PersonFrame]  # the driver
    answer: list[PersonFrame]  # the source's identity, in its own scene, in the driver's motion


class Seen(NamedTuple):
    """What is known of N frames, by judges or by the renderer."""

    points: Floats  # (N, K, 2) of the face, in pixels of 256
    heads: Floats  # (N, 6), see `judges.heads.read_heads`
    found: NDArray[np.bool_]  # (N,) bool, whether there is a face
    identity: Array | None = None  # (D,) the mean of its embeddings; None without a face


def draw_trio(studio: Studio, number: int, frames: int) -> Trio:
    """A source of the test split with a driver that is nobody else's."""
    order, other = Order((0, 0), frames), FIRST_DRIVER + number
    own, driving = (draw_clip(studio, order, "test", i) for i in (number, other))
    return Trio(own, driving, draw_clip(studio, order, "test", number, motion=other))


def measure_people(
    runner: HostRunner, studio: Studio, face: Perception, identities: int, frames: int, progress: Progress
) -> dict[str, dict[str, Estimate | None]]:
    """The figures of a model, of its ablations at test time, and of the references.

    Args:
        frames: of each clip, the source included.

    Returns:
        By row and figure; None where there was nothing to judge.
    """
    makers: dict[str, Make] = {
        name: partial(animated, AblatedAnimator(runner, each)) for name, each in TEST_TIME.items()
    }
    makers[REPEATED] = lambda source, driving: [source] * len(driving)
    sums: dict[str, list[Sums]] = {name: [] for name in (*makers, ANSWER)}
    for done in range(identities):
        progress.update(done, identities)
        for name, each in _judge(face, draw_trio(studio, done, frames), makers):
            sums[name].append(each)
    return {name: estimates(each) for name, each in sums.items()}


def open_judges(nets: Nets) -> Perception:
    """The face's judges.

    Raises:
        MaskanimError: one that is needed is not here.
    """
    face = perceive("face", nets)
    for feature in JUDGES:
        if why := face.missing.get(feature):
            next_step = "Name their folder with --nets, or: maskanim-bench quality nets --fetch"
            raise MaskanimError("the judges of people", why, "their networks", next_step)
    return face


def _judge(face: Perception, trio: Trio, makers: Mapping[str, Make]) -> Iterator[tuple[str, Sums]]:
    """Of one identity, the sums of each row."""
    source, rest = trio.own[0], trio.own[1:]
    own, driver, answer = (look(face, _images(clip)) for clip in trio)
    for name, make in makers.items():
        rebuilt, moved = (make(source.image, _images(clip)) for clip in (rest, trio.driving))
        sums = {f"rebuilt_{figure}": each for figure, each in pixels(rebuilt, rest, source).items()}
        sums |= pixels(moved, trio.answer, source) | {"ssim": _similar(moved, trio.answer)}
        seen = look(face, moved)
        yield name, sums | likeness(seen, answer) | kept(seen, own, driver)
    of_68 = answer._replace(points=answer.points[:, MESH_68])
    yield ANSWER, likeness(of_68, _known(trio.answer)) | kept(answer, own, driver)


def _images(clip: Sequence[PersonFrame]) -> list[Frame]:
    return [frame.image for frame in clip]


def look(face: Perception, frames: Sequence[Frame]) -> Seen:
    """What the judges see in frames."""
    observed = Observed(frames, face.observers)
    mesh, head, identity = (observed.see(name) for name in ("mesh", "head", "identity"))
    mean = identity.values[identity.found].mean(0) if identity.found.any() else None
    return Seen(mesh.values, head.values, head.found, mean)


def _known(frames: Sequence[PersonFrame]) -> Seen:
    """What the renderer knows of its frames."""
    heads = np.array([[*frame.angles, frame.mouth, *frame.lids] for frame in frames])
    return Seen(np.stack([frame.landmarks for frame in frames]), heads, np.ones(len(frames), bool))


def pixels(pictures: Sequence[Frame], targets: Sequence[PersonFrame], source: PersonFrame) -> Sums:
    """Mean absolute differences in [0, 1] to the true frames: inside, outside, and inside relative to the source's."""
    insides = [np.maximum(target.foreground, source.foreground) > 0.5 for target in targets]
    sums = differences(pictures, _images(targets), source.image, insides)
    return {name: sums[name] for name in ("inside", "inside_ratio", "outside")}


def _similar(pictures: Sequence[Frame], targets: Sequence[PersonFrame]) -> tuple[float, float]:
    each = ssim(pictures, _images(targets))
    return float(each.totals.sum()), float(each.counts.sum())


def likeness(seen: Seen, truth: Seen) -> Sums:
    """How near faces are to the true ones, over the frames with a face in both; and in how many frames one is."""
    both = seen.found & truth.found
    away = np.linalg.norm(seen.points[both] - truth.points[both], axis=-1)
    sums: Sums = {
        "landmarks": (float(away.sum()), float(away.size)),
        "face_found": (float(seen.found.sum()), float(len(seen.found))),
    }
    for name, columns in HEAD.items():
        a, b = (heads[both][:, columns].mean(1) for heads in (seen.heads, truth.heads))
        sums[f"{name}_error"] = (float(np.abs(a - b).sum()), float(len(a)))
        enough = len(a) >= FEWEST
        a, b = (x - x.mean() if enough else np.zeros(0) for x in (a, b))
        sums[f"{name}_correlation"] = (float(a @ b), float(a @ a), float(b @ b))
    return sums


def kept(seen: Seen, source: Seen, driver: Seen) -> Sums:
    """Whether frames show the source's identity rather than the driver's, each the mean over a clip of its own."""
    if source.identity is None or driver.identity is None:
        return {"identity_kept": (0.0, 0.0), "csim": (0.0, 0.0)}
    if seen.identity is None:
        return {"identity_kept": (0.0, 1.0), "csim": (0.0, 0.0)}
    to_source, to_driver = (_cosine(seen.identity, other) for other in (source.identity, driver.identity))
    return {"identity_kept": (float(to_source > to_driver), 1.0), "csim": (to_source, 1.0)}


def _cosine(a: Array, b: Array) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def estimates(identities: Sequence[Sums]) -> dict[str, Estimate | None]:
    """Each figure over the identities, with its interval."""
    return {name: _estimate([sums[name] for sums in identities]) for name in identities[0]}


def _estimate(sums: Sequence[tuple[float, ...]]) -> Estimate | None:
    """Of the identities with anything to judge."""
    judged = [each for each in sums if all(value > STILL for value in each[1:])]
    if not judged:
        return None
    figure: Callable[..., Estimate] = ratio if len(judged[0]) == 2 else correlation
    return figure(*zip(*judged, strict=True))


LINES = (
    Column("rebuilt: L1 inside", "rebuilt_inside", decimals=4),
    Column("  of repeating the source", "rebuilt_inside_ratio"),
    Column("  L1 outside", "rebuilt_outside", decimals=4),
    Column("animated: L1 inside", "inside", decimals=4),
    Column("  of repeating the source", "inside_ratio"),
    Column("  L1 outside", "outside", decimals=4),
    Column("  SSIM", "ssim", decimals=3),
    Column("  landmarks px", "landmarks", decimals=1),
    Column("  yaw off °", "yaw_error", decimals=1),
    Column("  pitch off °", "pitch_error", decimals=1),
    Column("  roll off °", "roll_error", decimals=1),
    Column("  yaw correlation", "yaw_correlation"),
    Column("  pitch correlation", "pitch_correlation"),
    Column("  roll correlation", "roll_correlation"),
    Column("  mouth off", "mouth_error", decimals=3),
    Column("  mouth correlation", "mouth_correlation"),
    Column("  lids off", "lids_error", decimals=3),
    Column("  lids correlation", "lids_correlation"),
    Column("  nearer to the source %", "identity_kept", 100, 0),
    Column("  CSIM to the source", "csim"),
    Column("  a face found %", "face_found", 100, 1),
)


def people_table(rows: Mapping[str, Mapping[str, Estimate | None]], identities: int, frames: int) -> Table:
    """A line for each figure, a column for each row."""
    title = (
        f"{identities} held-out rendered people, {frames} frames {STEP_SECONDS} s apart, rebuilt from the first one, "
        f"and animated by as many others, against the true answer\n{NOTE}"
    )
    lines = [(line.heading, *(line.text(figures) for figures in rows.values())) for line in LINES]
    return Table(title, ("", *("the model" if name == FULL else name for name in rows)), lines)


def as_dict(
    rows: Mapping[str, Mapping[str, Estimate | None]], studio: Studio, face: Perception, identities: int, frames: int
) -> dict[str, Any]:
    """What was measured, by whom, and values and intervals by row and figure."""
    judges = {feature: face.networks[feature] for feature in JUDGES}
    about = {"identities": identities, "frames": frames, "step_seconds": STEP_SECONDS}
    figures = {row: {name: each and each._asdict() for name, each in found.items()} for row, found in rows.items()}
    return about | {"assets": studio.pack.fingerprint, "judges": judges, "rows": figures}
