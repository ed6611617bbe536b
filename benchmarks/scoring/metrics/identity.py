"""AED and CSIM: whether the generated figure is still who the source was."""

from __future__ import annotations

import numpy as np

from maskanim.benchmarks.scoring.features import Embeddings
from maskanim.benchmarks.scoring.metrics.base import PerFrame
from maskanim.ops import Array


def aed(generated: Embeddings, target: Embeddings) -> PerFrame:
    """Average Euclidean distance of the embeddings, over frames in which both have one."""
    both = generated.found & target.found
    away = np.linalg.norm(generated.values - target.values, axis=-1).astype(np.float64)
    return PerFrame(away * both, both.astype(np.float64))


def csim(generated: Embeddings, source: Embeddings) -> PerFrame:
    """Cosine similarity of the embeddings to the source's, each less the mean embedding, over frames that have one.

    The paper takes the plain cosine of other networks' embeddings. Where all embeddings share a large mean, as dlib's
    do, that is close to one for any two people.
    """
    both = generated.found & source.found
    a, b = _unit(generated.values - generated.mean), _unit(source.values - source.mean)
    return PerFrame((a * b).sum(-1).astype(np.float64) * both, both.astype(np.float64))


def _unit(values: Array) -> Array:
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), np.float32(1e-12))
