"""The animator against the equations run by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from maskanim import ops
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Array, Frame
from maskanim.runtime import Animator
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.sessions.host import HostRunner
from maskanim.runtime.sessions.session import SessionNets
from maskanim.views import draw_grid


@pytest.fixture
def animator(tiny_bundle: Bundle) -> Iterator[Animator]:
    with Animator.open(tiny_bundle, "openvino") as opened:
        yield opened


def nets_of(animator: Animator) -> SessionNets:
    assert isinstance(animator.runner, HostRunner)
    return animator.runner.nets


def count_runs(nets: SessionNets, monkeypatch: pytest.MonkeyPatch) -> list[Array]:
    """A list to which every run of m adds its input."""
    calls: list[Array] = []
    run = nets.m

    def counted(image: Array) -> Array:
        calls.append(image)
        return run(image)

    monkeypatch.setattr(nets, "m", counted)
    return calls


def test_it_tells_model_and_engine(animator: Animator, tiny_bundle: Bundle) -> None:
    assert animator.model == tiny_bundle
    assert animator.choice.why == "given as an opened bundle"
    assert animator.engine.name == "openvino"


def test_a_model_is_opened_by_its_folder(tiny_bundle: Bundle) -> None:
    with Animator.open(tiny_bundle.path, "ort") as animator:
        assert animator.model == tiny_bundle and animator.choice.why == "named"


def test_a_frame_is_the_equations_run_by_hand(animator: Animator, tiny_frames: list[Frame]) -> None:
    nets, s, d = nets_of(animator), ops.preprocess(tiny_frames[0]), ops.preprocess(tiny_frames[1])
    small, source_mask = ops.downscale(s), nets.m(s)
    mask = nets.m(d)
    perturbed = ops.perturb(mask, animator.model.manifest.model.perturbation)
    refined = nets.r(small, source_mask, perturbed)
    coarse = nets.l(small, source_mask, refined)
    frame = nets.h(s, ops.upscale(source_mask), ops.upscale(refined), coarse)

    source = animator.encode_source(tiny_frames[0])
    steps = animator.animate_steps(source, tiny_frames[1])
    for step, by_hand in zip(vars(steps).values(), (mask, perturbed, refined, coarse, frame), strict=True):
        np.testing.assert_array_equal(step, by_hand)
    np.testing.assert_array_equal(animator.animate(source, tiny_frames[1]), ops.postprocess(frame))


def test_a_frame_is_a_picture(animator: Animator, tiny_frames: list[Frame]) -> None:
    frame = animator.animate(animator.encode_source(tiny_frames[0]), tiny_frames[1])
    assert frame.dtype == np.uint8 and frame.shape == (256, 256, 3)


def test_stream_equals_animate_and_computes_the_source_once(
    animator: Animator, tiny_frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_runs(nets_of(animator), monkeypatch)
    source = animator.encode_source(tiny_frames[0])
    streamed = list(animator.stream(source, iter(tiny_frames)))
    assert len(calls) == 1 + len(tiny_frames)
    for frame, driving in zip(streamed, tiny_frames, strict=True):
        np.testing.assert_array_equal(frame, animator.animate(source, driving))


@pytest.mark.parametrize(("batch", "computed"), [(1, 4), (2, 3)])
def test_frames_that_repeat_the_one_before_are_computed_once(
    tiny_bundle: Bundle, tiny_frames: list[Frame], batch: int, computed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As screen recordings and constant rates have them; what comes out is the same, in arrays of its own."""
    one, two = tiny_frames[:2]
    frames = [one, one, one.copy(), one, two, two, one, two]
    with Animator.open(tiny_bundle, "ort", RunOptions(batch=batch)) as animator:
        source = animator.encode_source(one)
        expected = {id(frame): animator.animate(source, frame) for frame in (one, two)}
        calls = count_runs(nets_of(animator), monkeypatch)
        recorded = list(animator.record(source, frames))
        assert len(calls) == computed
        for (picture, mask), driving in zip(recorded, frames, strict=True):
            likeness = expected[id(two if driving is two else one)]
            assert np.abs(picture.astype(int) - likeness).max() <= 1  # batches add up in another order
            mask += 1
        masks = [mask for _, mask in recorded]
        assert not any(np.shares_memory(a, b) for a, b in itertools.pairwise(masks))
        assert masks[0].max() <= 2  # each was added to once


def test_stream_takes_frames_as_they_come(animator: Animator, tiny_frames: list[Frame]) -> None:
    frames = iter(tiny_frames)
    stream = animator.stream(animator.encode_source(tiny_frames[0]), frames)
    next(stream)
    assert next(frames) is tiny_frames[1]


def test_a_small_picture_is_refused(animator: Animator) -> None:
    with pytest.raises(MaskanimError, match="63x80 pixels; expected at least 64x64"):
        animator.encode_source(np.zeros((80, 63, 3), np.uint8))


def test_an_unknown_engine_is_told_before_the_model_is_read() -> None:
    with pytest.raises(MaskanimError, match="engine tpu"):
        Animator.open("no such model", "tpu")


def test_a_closed_animator_says_so(tiny_bundle: Bundle, tiny_frames: list[Frame]) -> None:
    with Animator.open(tiny_bundle, "ort") as animator:
        pass
    with pytest.raises(MaskanimError, match="session is closed"):
        animator.encode_source(tiny_frames[0])


def test_the_grid_shows_every_step_in_order(animator: Animator, tiny_frames: list[Frame]) -> None:
    source, driving = animator.encode_source(tiny_frames[0]), ops.preprocess(tiny_frames[1])
    steps = animator.animate_steps(source, tiny_frames[1])
    grid = draw_grid(source, driving, steps)
    assert grid.shape == (256, 8 * 256, 3)
    cells = np.split(grid, 8, axis=1)
    for cell, image in zip(cells, (source.image, source.mask, driving, *vars(steps).values()), strict=True):
        drawn = ops.postprocess(image)
        times = 256 // len(drawn)
        np.testing.assert_array_equal(cell, drawn.repeat(times, 0).repeat(times, 1))


def test_batches_give_what_single_frames_give(tiny_bundle: Bundle, tiny_frames: list[Frame]) -> None:
    with Animator.open(tiny_bundle, "ort", RunOptions(batch=3)) as batched, Animator.open(tiny_bundle, "ort") as single:
        source = single.encode_source(tiny_frames[0])
        frames = list(batched.stream(source, tiny_frames))
        assert len(frames) == len(tiny_frames) == 8  # the last batch is a partial one
        for frame, driving in zip(frames, tiny_frames, strict=True):
            # float32 sums of a batch may run in another order
            assert np.abs(frame.astype(int) - single.animate(source, driving)).max() <= 1
        prepared = map(batched.runner.prepare, tiny_frames)
        for result, driving in zip(batched.runner.run(source, prepared, "steps"), tiny_frames, strict=True):
            steps = result.steps
            assert steps
            np.testing.assert_array_equal(steps.driving, ops.preprocess(driving))
            assert steps.animation.frame.shape == (1, 3, 256, 256)
