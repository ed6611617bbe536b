"""People seen whole: 17 key-points, presence and mask, and what the picture shows."""

from __future__ import annotations

import numpy as np

from maskanim.benchmarks.judges.features import Feature, Observed
from maskanim.benchmarks.judges.networks import Runs
from maskanim.spec import IMAGE_SIZE

# The score from which MoveNet's own tutorial trusts a key-point (MIN_CROP_KEYPOINT_SCORE).
KEYPOINT_SCORE = 0.2
PRESENCE = 0.5
IMAGENET_MEAN, IMAGENET_STD = 127.0, 128.0  # as the Lite variants of EfficientNet were trained


def body_keypoints(net: Runs, observed: Observed) -> Feature:
    """MoveNet's 17, over whole frames."""
    (found,) = net(np.stack(observed.frames).astype(np.int32)).values()
    y, x, score = np.moveaxis(found[:, 0], -1, 0).astype(np.float64)
    return Feature(np.stack([x, y], -1) * IMAGE_SIZE, score > KEYPOINT_SCORE)


def body_people(net: Runs, observed: Observed) -> Feature:
    """Presence and mask by MediaPipe's pose network; the frame as a whole is its region of interest.

    The region that MediaPipe itself would cut out is a square around a standing person, which is what the frames of
    Tai-Chi-HD are.
    """
    found = net(np.stack(observed.frames).astype(np.float32) / 255)
    present = found["Identity_1"].reshape(len(observed)) > PRESENCE
    return Feature((found["Identity_2"][..., 0] > 0) & present[:, None, None], present)  # logits


def picture_embedding(net: Runs, observed: Observed) -> Feature:
    """EfficientNet-Lite0's features of the whole frame, of length one."""
    images = (np.stack(observed.frames).transpose(0, 3, 1, 2) - np.float32(IMAGENET_MEAN)) / IMAGENET_STD
    (values,) = net(images.astype(np.float32)).values()
    return Feature(values / np.linalg.norm(values, axis=1, keepdims=True), np.ones(len(observed), bool))
