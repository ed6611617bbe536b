"""Sample grids in the manner of the paper's Figure 4, through the test-time pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maskanim import pipeline
from maskanim.errors import MaskanimError
from maskanim.networks import Networks, TorchOps
from maskanim.ops import Array, Frame, preprocess
from maskanim.train.data import PEOPLE, SYNTHETIC
from maskanim.train.data.clips import square
from maskanim.train.data.frames import open_frames
from maskanim.train.data.layouts import ClipFile, list_clips
from maskanim.train.puppets import Puppet
from maskanim.views import draw_grid

EXAMPLES = 6
LATER = 2.2  # seconds, of a puppet's second frame


def examples(data: str | Path, count: int = EXAMPLES) -> tuple[Tensor, Tensor] | None:
    """What sample grids show: held-out clips where the data has some, else clips of the training.

    Args:
        data: ``synthetic``, ``people`` (no examples: they would need a renderer here) or a folder of clips.
        count: how many rows at most.

    Returns:
        Sources, and drivers of which the first half are later frames of the same clips and the second half frames of
        other clips, (N, 3, 256, 256) float32 in [0, 1]; None where no clip can be read.
    """
    if data == PEOPLE:
        return None
    if data == SYNTHETIC:
        puppets = [Puppet(i, "test") for i in range(count)]
        pairs = [(puppet.frame(0).image, puppet.frame(LATER).image) for puppet in puppets]
    else:
        clips = list_clips(Path(data), "train").clips
        with suppress(MaskanimError):  # there is no test/, or no clip in it
            clips = list_clips(Path(data), "test").clips
        pairs = list(islice(_ends(clips, count), count))
    if not pairs:
        return None
    half = -(-len(pairs) // 2)
    drivers = [later for _, later in pairs[:half]] + [pairs[i - 1][1] for i in range(half, len(pairs))]
    return _batch([first for first, _ in pairs]), _batch(drivers)


def _ends(clips: tuple[ClipFile, ...], count: int) -> Iterator[tuple[Frame, Frame]]:
    """The first frame and a later one of clips from all over the list; damaged ones are passed over."""
    every = max(1, len(clips) // count)
    first_choice = clips[::every]
    for clip in (*first_choice, *(clip for clip in clips if clip not in first_choice)):
        try:
            with open_frames(clip) as frames:
                first, later = frames.read([0, (2 * frames.count) // 3])
                yield square(first), square(later)
        except MaskanimError:
            continue


def _batch(frames: list[Frame]) -> Tensor:
    return torch.from_numpy(np.concatenate([preprocess(frame) for frame in frames]))


@torch.no_grad()
def draw_grids(nets: Networks, source: Tensor, driving: Tensor) -> Frame:
    """One row of `maskanim.views.draw_grid` per pair.

    Args:
        source, driving: (N, 3, 256, 256) float32 in [0, 1].

    Returns:
        (N * 256, 8 * 256, 3) uint8 RGB.
    """
    was_training = nets.training
    nets.eval()
    ops = TorchOps(nets.spec.perturbation)
    # Networks compiled for training would be compiled again for this batch.
    with torch.compiler.set_stance("force_eager"):
        encoded = pipeline.encode_source(nets, ops, source)
        shown = pipeline.animate_frame(nets, ops, encoded, driving)
    nets.train(was_training)
    return np.vstack([_row(encoded, driving, shown, i) for i in range(len(source))])


def _row(encoded: pipeline.Source[Tensor], driving: Tensor, shown: pipeline.Animation[Tensor], i: int) -> Frame:
    def item(batch: Tensor) -> Array:
        return batch[i : i + 1].float().cpu().numpy()

    source = pipeline.Source(*map(item, vars(encoded).values()))
    return draw_grid(source, item(driving), pipeline.Animation(*map(item, vars(shown).values())))
