"""The page of maskanim-app as a tab of a Gradio app of yours.

pip install 'maskanim[cpu,app]'
python gradio_embed.py
"""

import os
from importlib.resources import files
from pathlib import Path
from tempfile import mkdtemp

folder = Path(mkdtemp(prefix="mine-")).resolve()  # uploads and results; removing it is yours
os.environ.update(GRADIO_TEMP_DIR=str(folder), GRADIO_ANALYTICS_ENABLED="False")  # before Gradio is imported

import gradio as gr  # noqa: E402

from maskanim.app.limits import AppContext, Limits  # noqa: E402
from maskanim.app.page import build  # noqa: E402
from maskanim.app.theme import THEME  # noqa: E402
from maskanim.app.worker import ModelWorker, engines, models  # noqa: E402

with gr.Blocks(title="mine") as mine:
    gr.Markdown("# Something else of mine")

context = AppContext(ModelWorker(), models(), engines(), Limits(seconds=60), folder)
app = gr.TabbedInterface([mine, build(context)], ["Mine", "Animate"])

if __name__ == "__main__":
    css = files("maskanim.app").joinpath("style.css").read_text("utf-8")
    with context.worker:
        app.queue(default_concurrency_limit=1).launch(theme=THEME, css=css, allowed_paths=[str(folder)])
