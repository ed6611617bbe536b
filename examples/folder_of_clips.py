"""Animate a picture by every clip of a folder; called again, it goes on with those that are missing.

pip install 'maskanim[cpu]'
python folder_of_clips.py a.jpg clips results
"""

import sys
from functools import partial
from pathlib import Path

import maskanim
from maskanim.runtime.jobs import Interrupts, Places, RenderSettings, cross, render_all, render_unless_there, several

picture, clips, results = sys.argv[1:]
jobs = several(cross([picture], [f"{clips}/*.mp4"]), Places(Path(results)))
with maskanim.Animator.open() as animator, (interrupts := Interrupts(several=True)).heard():
    render = partial(render_unless_there, animator, RenderSettings(view="side-by-side"), interrupts=interrupts)
    summary = render_all(jobs, render, interrupts)  # one bad file does not stop the rest
print(*summary.lines(), sep="\n")
