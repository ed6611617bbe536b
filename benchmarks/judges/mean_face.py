"""The mean embedding of faces, which CSIM takes away.

Dlib's embeddings all point much the same way: their raw cosine was above 0.78 for any two people, and would hardly tell
two methods apart.

    python -m maskanim.benchmarks.judges.mean_face FILE...   (pictures and clips, one identity each)

`mean_face.npz` was made of twelve people, two photographs and ten clips. About it, the cosine between frames of one
person was 0.80 or more on three clips that are none of them; between two of seven such people it was 0.2 at the
median, 0.67 at most.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from maskanim.benchmarks.judges.faces import MEAN_FACE, raw_embedding
from maskanim.benchmarks.judges.networks import Nets
from maskanim.benchmarks.judges.perception import perceive
from maskanim.errors import MaskanimError
from maskanim.ops import Array, postprocess, preprocess
from maskanim.video import open_clip

EVERY, AT_MOST = 40, 6  # frames of a clip


def mean_face(files: list[Path], nets: Nets) -> Array:
    """The mean over identities of the mean over each one's frames: (128,) float32.

    Raises:
        MaskanimError: a file cannot be read, or has no face.
    """
    face = perceive("face", nets)
    face.observers["identity"] = partial(raw_embedding, nets.open("face-api-recognition"))
    means = []
    for file in files:
        with open_clip(file) as clip:  # a picture is a clip of one frame
            images = [image for image, _ in islice(clip, 0, EVERY * AT_MOST, EVERY)]
        found = face.see([postprocess(preprocess(image)) for image in images], "identity")
        if not found.found.any():
            raise MaskanimError(str(file), "no face in it", "a face in every file")
        means.append(found.values[found.found].mean(0))
    return np.asarray(np.mean(means, 0), np.float32)


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]]
    np.savez(MEAN_FACE, mean=mean_face(paths, Nets()), identities=len(paths))
