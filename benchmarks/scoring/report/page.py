"""One page to look at, in one file: tables, a plot per metric, and the best, median and worst video of each method."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape

import cv2

from maskanim.benchmarks.scoring.metrics import BY_NAME, Metric
from maskanim.benchmarks.scoring.report.plots import draw
from maskanim.benchmarks.scoring.report.tables import judges, main_table, problems, shown, thirds_table
from maskanim.benchmarks.scoring.results import Scored, VideoScores

LEADING = ("AKD", "L1", "CSIM")  # the first of these that there is decides what is best and worst
COLUMNS = 8  # frames of a video that are shown
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1120px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } h3 { font-size: 1rem; margin-bottom: .3rem }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid #e4e4e4; vertical-align: top }
th:first-child, td:first-child, .words td, .words th { text-align: left }
.plots { display: flex; flex-wrap: wrap; gap: 1rem } .plots img { width: 540px; max-width: 100% }
.clip img { max-width: 100%; display: block } .faint, caption { color: #777; font-size: .85rem; text-align: left }
.wide { overflow-x: auto }
"""


def as_html(scored: Scored) -> str:
    """The page; it loads nothing from anywhere."""
    parts = [
        f"<h1>Quality: {escape(str(scored.about.get('protocol', '')))}, {escape(scored.perception.subject)}</h1>",
        f"<p class=faint>{escape('; '.join(f'{key}: {value}' for key, value in scored.about.items()))}</p>",
        *(_table(table.headings, table.rows, table.best, table.title) for table in _tables(scored)),
        *(f"<p>{escape(note)}</p>" for note in scored.notes),
        "<h2>Metrics</h2><div class=plots>",
        *(_picture(draw(scored, metric), "svg+xml", metric.name) for metric in scored.shown()),
        "</div>",
        _table(("", "what it says", "judged by", ""), judges(scored), kind="words"),
        *_clips(scored),
        "<h2>Remarks</h2><ul>",
        *(f"<li>{escape(line)}</li>" for line in problems(scored)),
        "</ul><h2>Videos</h2>",
        _videos(scored),
    ]
    head = f'<meta charset="utf-8"><title>maskanim quality</title><style>{STYLE}</style>'
    return "\n".join([f'<!doctype html><html lang="en"><head>{head}</head><body>', *parts, "</body></html>", ""])


def _tables(scored: Scored) -> Iterator:  # type: ignore[type-arg]
    yield main_table(scored)
    if thirds := thirds_table(scored):
        yield thirds


def _table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    best: frozenset[tuple[int, int]] = frozenset(),
    caption: str = "",
    kind: str = "",
) -> str:
    def cell(row: int, i: int, text: str) -> str:
        return f"<td>{f'<b>{escape(text)}</b>' if (row, i) in best else escape(text)}</td>"

    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    body = "".join(
        f"<tr>{''.join(cell(row, i, text) for i, text in enumerate(cells))}</tr>" for row, cells in enumerate(rows)
    )
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<div class=wide><table class='{kind}'>{told}<tr>{head}</tr>{body}</table></div>"


def _videos(scored: Scored) -> str:
    metrics = scored.shown()
    rows = [
        (each.video, each.method, str(each.frames), *(shown(metric, each.figure(metric.name)) for metric in metrics))
        for each in scored.videos
    ]
    return _table(("video", "method", "frames", *(metric.name for metric in metrics)), rows)


def _clips(scored: Scored) -> Iterator[str]:
    leading = next((BY_NAME[name] for name in LEADING if BY_NAME[name] in scored.shown()), None)
    if leading is None:
        return
    yield f"<h2>Best, median and worst, by {leading.name}</h2>"
    for method in scored.methods:
        for place, each in chosen(scored, method, leading):
            if each.strip:
                figure = shown(leading, each.figure(leading.name))
                yield f"<div class=clip><h3>{escape(method)}, {place}: {escape(each.video)}, {figure}</h3>"
                done, packed = cv2.imencode(".jpg", each.strip.picture(COLUMNS)[..., ::-1])
                assert done, "OpenCV writes JPEG"
                yield _picture(packed.tobytes(), "jpeg", each.video)
                rows = escape(", ".join(each.strip.roles))
                yield f"<p class=faint>beside the source, where it was given; rows: {rows}</p></div>"


def chosen(scored: Scored, method: str, metric: Metric) -> list[tuple[str, VideoScores]]:
    """The best, the median and the worst video of a method, as far as there are so many."""
    found = [(value, each) for each in scored.of(method) if (value := each.figure(metric.name)) is not None]
    found.sort(key=lambda pair: pair[0], reverse=metric.better == "higher")
    places = {len(found) // 2: "median", len(found) - 1: "worst", 0: "best"}  # of two videos there is no median
    return [(places[i], found[i][1]) for i in sorted(places) if found]


def _picture(content: bytes, kind: str, told: str) -> str:
    return f'<img alt="{escape(told)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
