"""A motion that is replayed on its source gives the frames that it was made from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.models import DEMO
from maskanim.ops import Frame, perturb
from maskanim.runtime import Animator
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.motion import MotionWriter, open_motion
from maskanim.runtime.runner import Runner, require_mode
from maskanim.video import Clip, ClipWriter, open_clip, read_picture

FRAMES = 7


@pytest.fixture(params=[("ort", 1), ("openvino", 5)], ids=str)
def demo(request: pytest.FixtureRequest) -> Iterator[Animator]:
    """The embedded model; seven frames leave the last batch of five a partial one."""
    engine, batch = request.param
    with Animator.open("demo", engine, RunOptions(batch=batch)) as animator:
        yield animator


def save(animator: Animator, path: Path) -> list[Frame]:
    """The demo's first frames, and their motion in a file."""
    source, frames = animator.encode_source(read_picture(DEMO / "source.png")), []
    with open_clip(DEMO / "driving.mp4") as clip, MotionWriter(path, clip, animator.model) as writer:
        times: list[int] = []

        def images() -> Iterator[Frame]:
            for image, pts in itertools.islice(clip, FRAMES):
                times.append(pts)
                yield image

        for i, (frame, mask) in enumerate(animator.record(source, images())):
            writer.write(mask, times[i])
            frames.append(frame)
    return frames


def replay(animator: Animator, path: Path) -> list[Frame]:
    return list(animator.stream_motion(animator.encode_source(read_picture(DEMO / "source.png")), open_motion(path)))


def test_the_same_frames_to_the_bit(demo: Animator, tmp_path: Path) -> None:
    recorded = save(demo, tmp_path / "m.mmot")
    with open_clip(DEMO / "driving.mp4") as clip:
        images = [timed.image for timed in itertools.islice(clip, FRAMES)]
    source = demo.encode_source(read_picture(DEMO / "source.png"))
    np.testing.assert_array_equal(recorded, list(demo.stream(source, images)))  # recording changes nothing
    np.testing.assert_array_equal(replay(demo, tmp_path / "m.mmot"), recorded)


def test_recorded_masks_are_the_perturbed_ones(tiny_bundle: Bundle, tiny_frames: list[Frame]) -> None:
    with Animator.open(tiny_bundle, "ort", RunOptions(batch=3)) as animator:
        source = animator.encode_source(tiny_frames[0])
        masks = [mask for _, mask in animator.record(source, tiny_frames)]
        results = animator.runner.run(source, map(animator.runner.prepare, tiny_frames), "steps")
        for mask, result in zip(masks, results, strict=True):
            assert result.steps
            np.testing.assert_array_equal(mask, result.steps.animation.perturbed)
        wanted = perturb(animator.mask(tiny_frames[1]), tiny_bundle.manifest.model.perturbation)
        np.testing.assert_allclose(masks[1], wanted, rtol=0, atol=1e-5)  # a batch of three adds in another order


def test_another_models_motion_is_refused_before_any_frame(motion_file: Path) -> None:
    with Animator.open("demo", "ort") as animator:
        source = animator.encode_source(read_picture(DEMO / "source.png"))
        with pytest.raises(MaskanimError, match="masks by m of model tiny"):
            next(animator.stream_motion(source, open_motion(motion_file)))


def test_a_backend_without_a_mode_says_so(tiny_bundle: Bundle, tiny_frames: list[Frame]) -> None:
    with Animator.open(tiny_bundle, "ort") as animator:
        for mode in ("record", "replay"):
            with pytest.raises(MaskanimError, match=f"motion: HostRunner, which has no mode '{mode}'"):
                require_mode(animator.runner, mode, "frame", "steps")
        np.testing.assert_array_equal(Runner.mask(animator.runner, tiny_frames[0]), animator.mask(tiny_frames[0]))


def test_a_clip_writer_takes_a_motions_times(
    tiny_bundle: Bundle, motion_file: Path, tiny_frames: list[Frame], tmp_path: Path
) -> None:
    motion = open_motion(motion_file)
    with Animator.open(tiny_bundle, "ort") as animator, ClipWriter(tmp_path / "out.mp4", Clip.of(motion)) as writer:
        source = animator.encode_source(tiny_frames[0])
        frames = animator.stream_motion(source, motion)
        for frame, (_, pts) in zip(itertools.islice(frames, 5), motion.masks(), strict=False):
            writer.write(frame, pts)
    with open_clip(tmp_path / "out.mp4") as written:
        assert written.time_base == motion.time_base
        assert [pts for _, pts in written] == [512 * i + i % 3 for i in range(5)]
