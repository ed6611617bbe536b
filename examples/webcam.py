"""Animate a picture by a webcam, on a page of this machine; a video file as last argument records it instead.

pip install 'maskanim[cpu]'
python webcam.py a.jpg camera:0 page
"""

import sys

import maskanim
from maskanim.runtime.jobs import RenderSettings
from maskanim.runtime.live import go_live
from maskanim.runtime.live.command import open_outputs
from maskanim.video import open_clip, read_picture

picture, camera, to = sys.argv[1:]
with maskanim.Animator.open() as animator, open_clip(camera) as clip:
    source = animator.encode_source(read_picture(picture))
    outputs = open_outputs([to], "127.0.0.1", clip, animator, RenderSettings())
    print("watch it at", *(output.place for output in outputs), "and end it with Ctrl-C")
    # The freshest frame, always: those that come while the model is busy are dropped, and counted.
    print(go_live(animator.runner, source, clip, outputs))
