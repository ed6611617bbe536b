"""Keep a driver's motion as a file, without any picture of him, and replay it on other sources.

pip install 'maskanim[cpu]'
python motion_on_three_sources.py b.mp4 one.jpg two.jpg three.jpg
"""

import sys
from pathlib import Path

import maskanim
from maskanim.runtime.jobs import Extras, Job, RenderSettings, render

driving, *pictures = sys.argv[1:]
motion = Path(driving).with_suffix(".mmot")
with maskanim.Animator.open() as animator:
    for number, picture in enumerate(pictures):
        output = Path(f"{Path(picture).stem}-moved.mp4")
        # The first job writes the motion file beside its video; the others need nothing but that file.
        job = (
            Job(Path(picture), driving, output, Extras(motion))
            if number == 0
            else Job(Path(picture), str(motion), output)
        )
        print(render(animator, job, RenderSettings()).output)
