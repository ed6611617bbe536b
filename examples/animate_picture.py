"""Animate a picture by a clip, with the clip's times and audio.

pip install 'maskanim[cpu]'
python animate_picture.py a.jpg b.mp4 out.mp4
"""

import sys

import maskanim
from maskanim.video import ClipWriter, open_clip, read_picture

picture, driving, output = sys.argv[1:]
with maskanim.Animator.open() as animator, open_clip(driving) as clip, ClipWriter(output, clip) as writer:
    print(*animator.lines(), sep="\n")  # which model and which engine run, and why
    source = animator.encode_source(read_picture(picture))  # once per picture
    for image, pts in clip:
        writer.write(animator.animate(source, image), pts)
