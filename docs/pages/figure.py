"""Draw the figure of *How it works*: one frame of the embedded demo on its way through the four networks.

    python docs/pages/figure.py [FILE.svg]

Draw it again when the demo's model has changed.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2

import maskanim
from maskanim.models import DEMO
from maskanim.ops import Frame, postprocess
from maskanim.video import open_clip, read_picture

PLACE = Path(__file__).resolve().parents[1] / "images" / "one-frame.svg"
FRAME = 40  # of the driving clip: a turned head
SIDE, TOP, BOTTOM = 104, 40, 250  # of a picture, and where the two rows of them begin


class Shown(NamedTuple):
    """A picture of the figure: where, what it holds, its letter with an index, and its name."""

    x: int
    y: int
    image: Frame
    letter: str
    index: str
    name: str


def pictures() -> list[Shown]:
    """What one frame becomes, step by step, with the embedded demo."""
    picture = read_picture(DEMO / "source.png")
    with open_clip(DEMO / "driving.mp4") as clip:
        driving = next(islice(clip, FRAME, None)).image
    with maskanim.Animator.open("demo") as animator:
        source = animator.encode_source(picture)
        masks = animator.source_arrays(source)
        steps = animator.animate_steps(source, driving)
    return [
        Shown(20, TOP, picture, "s", "", "source"),
        Shown(180, TOP, postprocess(masks.mask), "m", "s", "its mask"),
        Shown(20, BOTTOM, driving, "d", "", "driving frame"),
        Shown(180, BOTTOM, postprocess(steps.mask), "m", "d", "its mask"),
        Shown(340, BOTTOM, postprocess(steps.perturbed), "m", "dp", "perturbed"),
        Shown(500, BOTTOM, postprocess(steps.refined), "m", "dr", "refined"),
        Shown(700, BOTTOM, postprocess(steps.coarse), "c", "", "coarse frame"),
        Shown(900, BOTTOM, postprocess(steps.frame), "f", "", "final frame"),
    ]


def draw(shown: list[Shown]) -> str:
    """The figure as SVG."""
    middle, above = BOTTOM + SIDE // 2, TOP + SIDE // 2
    parts = [*_arrows(middle, above)]
    for x, y, letter, name in (
        (152, above, "m", "mask network"),
        (152, middle, "m", "mask network"),
        (312, middle, "P", "P_test, no network"),
        (472, middle, "r", "refines the mask"),
        (652, middle, "l", "draws at low resolution"),
        (852, middle, "h", "draws at high resolution"),
    ):
        kind = "step" if letter == "P" else "net"
        parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="15"><title>{name}</title></circle>')
        parts.append(f'<text class="in" x="{x}" y="{y + 5}">{letter}</text>')
    parts += [line for one in shown for line in _picture(one)]
    return HEAD + "\n".join(parts) + "\n</svg>\n"


HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1024 420" font-family="sans-serif" font-size="15">
<title>One frame: what depends on the source is computed once, the lower row for every driving frame</title>
<style>
.net { fill: #0b7285 } .step { fill: #868e96 } .in { fill: #fff; text-anchor: middle; font-weight: bold }
.way { stroke: #495057; stroke-width: 1.6; fill: none; marker-end: url(#tip) } .name { fill: #212529 }
.note { fill: #495057; font-size: 13px } .row { fill: #868e96; font-size: 13px }
</style>
<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto"><path d="M0 0L8 4L0 8z" \
fill="#495057"/></marker></defs>
<rect width="1024" height="420" rx="8" fill="#fff"/>
<text class="row" x="20" y="24">once for each source</text>
<text class="row" x="20" y="234">for each driving frame</text>
"""


def _arrows(middle: int, above: int) -> Iterator[str]:
    """What goes where: along the lower row, from the source down into r, l and h, and from the refined mask to h."""
    rows = [(124, 137, above), (167, 178, above), (124, 137, middle), (167, 178, middle), (284, 297, middle)]
    rows += [(327, 338, middle), (444, 457, middle), (487, 498, middle), (604, 637, middle), (667, 698, middle)]
    rows += [(804, 837, middle), (867, 898, middle)]
    yield from (f'<path class="way" d="M{a} {y}H{b}"/>' for a, b, y in rows)
    yield f'<path d="M284 {above}H852" stroke="#495057" stroke-width="1.6" fill="none"/>'
    for x, label in ((472, "D(s), m"), (652, "D(s), m"), (852, "s, U(m")):
        yield f'<path class="way" d="M{x} {above}V{middle - 17}"/>'
        closing = ")" if "U" in label else ""
        yield f'<text class="note" x="{x + 8}" y="{above + 60}">{label}{_index("s", closing)}</text>'
    yield f'<path class="way" d="M552 {BOTTOM + SIDE + 30}V{BOTTOM + SIDE + 44}H852V{middle + 17}"/>'
    yield f'<text class="note" x="660" y="{BOTTOM + SIDE + 38}">U(m{_index("dr", ")")}</text>'


def _index(index: str, behind: str) -> str:
    return f'<tspan dy="4" font-size="10">{index}</tspan><tspan dy="-4">{behind}</tspan>'


def _picture(one: Shown) -> Iterator[str]:
    small = cv2.resize(one.image, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_AREA)
    content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    data = base64.b64encode(content).decode()
    yield f'<image x="{one.x}" y="{one.y}" width="{SIDE}" height="{SIDE}" href="data:image/jpeg;base64,{data}"/>'
    letter = f'<tspan font-weight="bold">{one.letter}</tspan>' + (_index(one.index, " ") if one.index else " ")
    yield f'<text class="name" x="{one.x}" y="{one.y + SIDE + 19}">{letter}{one.name}</text>'


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else PLACE
    place.write_text(draw(pictures()), "utf-8")
