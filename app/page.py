"""The page itself, in Gradio: what is on it, and what its buttons do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError as NeverBegun
from concurrent.futures import Future
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import gradio as gr

from maskanim.app.animation import Animated, Request, animate
from maskanim.app.camera import BusyError, animate_camera
from maskanim.app.html import message, progress, still, summary, without_folders
from maskanim.app.limits import AppContext
from maskanim.app.worker import CancelledError
from maskanim.errors import MaskanimError
from maskanim.models import DEMO
from maskanim.runtime.backends import AUTO

TITLE = "maskanim"
SECONDS_PER_LOOK = 0.1
SECONDS_PER_CAMERA_FRAME = 0.05
SECONDS_OF_CAMERA = 3600


def build(context: AppContext) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(_text("header.html"), elem_id="header")
        with gr.Row(elem_id="desk", equal_height=False):
            with gr.Column(scale=4, min_width=300):
                picture = gr.Image(
                    str(DEMO / "source.png"),
                    label="Picture",
                    type="filepath",
                    sources=["upload", "clipboard"],
                    buttons=[],
                    height=230,
                    elem_id="picture",
                )
                with gr.Row():
                    names = list(context.models)
                    model = gr.Dropdown(names, value=names[0], label="Model", min_width=120)
                    engine = gr.Dropdown(context.engines, value=AUTO, label="Engine", min_width=120)
                chosen = [picture, model, engine]  # for a clip and for the camera alike
                with gr.Tab("Clip") as clip_tab:
                    clip = _clip_inputs()
                with gr.Tab("Camera") as camera_tab:
                    camera = _camera_input()
            with gr.Column(scale=7, min_width=300) as clip_side:
                _clip_results(context, chosen, clip)
            with gr.Column(scale=7, min_width=300, visible=False) as camera_side:
                _camera_results(context, chosen, camera)
        gr.HTML(_text("footer.html"), elem_id="footer")
        for tab, side, other in ((clip_tab, clip_side, camera_side), (camera_tab, camera_side, clip_side)):
            tab.select(_show_first, None, [side, other], queue=False, api_visibility="private")
    page.queue(max_size=context.limits.waiting, default_concurrency_limit=1, api_open=False)
    return page


def _show_first() -> tuple[Any, Any]:
    return gr.update(visible=True), gr.update(visible=False)


class ClipInputs(NamedTuple):
    """What is in the tab for a clip."""

    clip: gr.Video
    begin: gr.Button
    stop: gr.Button
    demo: gr.Button
    status: gr.HTML


def _clip_inputs() -> ClipInputs:
    driving = gr.Video(
        DEMO / "driving.mp4", label="Driving clip", sources=["upload"], buttons=[], height=230, elem_id="clip"
    )
    with gr.Row(elem_id="actions"):
        begin = gr.Button("Animate", variant="primary", elem_id="animate", scale=3, min_width=120)
        stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=70)
        demo = gr.Button("Demo", elem_id="demo", scale=1, min_width=70)
    status = gr.HTML(message("Press Animate, or drop a picture and a clip of your own first."), elem_id="status")
    return ClipInputs(driving, begin, stop, demo, status)


def _clip_results(context: AppContext, chosen: list[Any], given: ClipInputs) -> None:
    result = gr.Video(label="Result", autoplay=True, loop=True, buttons=[], interactive=False, elem_id="result")
    with gr.Column(elem_id="beside"):
        masks = gr.Video(
            label="Masks", show_label=False, autoplay=True, loop=True, buttons=[], interactive=False, elem_id="masks"
        )
        gr.HTML(_text("masks.html"), elem_id="captions")
    download = gr.DownloadButton("Download", interactive=False, elem_id="download")

    def run(clip: Any, picture: Any, model: Any, engine: Any) -> Iterator[tuple[Any, ...]]:
        yield from animated(context, picture, clip, model, engine)

    running = given.begin.click(
        run,
        [given.clip, *chosen],
        [result, masks, download, given.status],
        preprocess=False,
        show_progress="hidden",
        api_visibility="private",
    )
    given.stop.click(
        lambda: message("Stopped."), None, given.status, cancels=[running], queue=False, api_visibility="private"
    )
    given.demo.click(
        lambda: (str(DEMO / "source.png"), str(DEMO / "driving.mp4")),
        None,
        [chosen[0], given.clip],
        api_visibility="private",
    )


def animated(context: AppContext, picture: Any, clip: Any, model: Any, engine: Any) -> Iterator[tuple[Any, ...]]:
    """What the button does: how far it is, then the result, or what was wrong.

    Yields:
        The two videos, the file to download, and the line that tells.
    """
    unchanged = (gr.skip(), gr.skip(), gr.skip())
    yield None, None, gr.update(value=None, interactive=False), progress(0, None)
    try:
        inputs = context.uploaded(picture, "picture"), context.uploaded(clip, "driving clip")
        request = Request(*inputs, Path(mkdtemp(prefix="result-", dir=context.folder)), context.limits)
        work = partial(animate, request)
        future = context.worker.submit(context.model(model), context.engine(engine), work)
        for line in _followed(context, request, future):
            yield (*unchanged, line)
        done = future.result()
        shown = str(done.result), str(done.masks), gr.update(value=str(done.result), interactive=True)
        yield (*shown, message(summary(done), *request.notes))
    except (CancelledError, NeverBegun):
        yield (*unchanged, message("Stopped."))
    except MaskanimError as error:
        yield (*unchanged, message(without_folders(error), wrong=True))


def _followed(context: AppContext, request: Request, future: Future[Animated]) -> Iterator[str]:
    """How far it is, until it is done; it is cancelled when nobody listens any more."""
    before = -1
    try:
        while not future.done():
            if request.done != before:
                before = request.done
                yield progress(request.done, request.total)
            time.sleep(SECONDS_PER_LOOK)
    finally:
        request.cancelled.set()
        context.worker.metrics.frames.inc(request.done)


def _camera_input() -> gr.Image:
    # No more than the networks use has to go through the page.
    constraints = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}
    return gr.Image(
        label="Camera",
        sources=["webcam"],
        streaming=True,
        webcam_options=gr.WebcamOptions(mirror=True, constraints=constraints),
        buttons=[],
        height=300,
        elem_id="camera",
    )


def _camera_results(context: AppContext, chosen: list[Any], camera: gr.Image) -> None:
    seen = gr.HTML(still(None), elem_id="seen")
    status = gr.HTML(message("The camera starts when you press its button."), elem_id="camera-status")

    camera.stream(
        partial(from_camera, context),
        [camera, *chosen],
        [seen, status],
        preprocess=False,
        show_progress="hidden",
        stream_every=SECONDS_PER_CAMERA_FRAME,
        time_limit=SECONDS_OF_CAMERA,
        concurrency_limit=1,
        api_visibility="private",
    )


def from_camera(context: AppContext, *values: Any) -> tuple[Any, str]:
    """A frame of the camera to what is shown of it, and the line that tells."""
    try:
        seen = animate_camera(context, *values)
    except MaskanimError as error:
        return gr.skip(), message(without_folders(error), wrong=True)
    except (BusyError, NeverBegun):
        return gr.skip(), message("The model is at work for someone else; the camera waits.")
    return still(seen.frame), message(f"{1000 * seen.seconds:.0f} ms from its arrival here to the picture")


def _text(name: str) -> str:
    return files("maskanim.app").joinpath(name).read_text("utf-8")
