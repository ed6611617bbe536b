"""Videos side by side: what is judged, what is counted, and what is said of videos that are not as they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from maskanim.benchmarks.judges.features import Feature, Observed
from maskanim.benchmarks.judges.perception import Perception
from maskanim.benchmarks.scoring.engine import BATCH, Case, Streams, score_all, score_video
from maskanim.benchmarks.scoring.results import Scored, VideoScores
from maskanim.benchmarks.scoring.videos import open_squares
from maskanim.errors import MaskanimError
from maskanim.ops import Frame

Spot = Callable[..., Frame]
EMPTY = np.zeros((256, 256, 3), np.uint8)


def case(
    driving: Sequence[Frame],
    target: Sequence[Frame] | str | None = None,
    source: Frame | None = None,
    **generated: Sequence[Frame],
) -> Case:
    def opened_on(_: ExitStack) -> Streams:
        aim = target if target is None or target == "driving" else iter(target)
        made = {name: iter(frames) for name, frames in generated.items()}
        return Streams(iter(driving), made, aim, source)  # type: ignore[arg-type]

    return Case("a", tuple(generated), opened_on)


def score(perception: Perception, *args: object, **generated: Sequence[Frame]) -> VideoScores:
    (found,) = score_video(case(*args, **generated), perception)  # type: ignore[arg-type]
    return found


def figures(scores: VideoScores) -> dict[str, float | None]:
    return {name: scores.figure(name) for name in scores.scores}


def test_a_perfect_reconstruction(see_spot: Perception, spot: Spot) -> None:
    driving = [spot(10 * i, 5) for i in range(1, 2 * BATCH)]  # more than one batch, and not a whole number of them
    found = score(see_spot, driving[:20], "driving", driving[0], ours=driving[:20])
    assert found.frames == 20 and found.problems == ()
    expected = {"L1": 0, "AKD": 0, "MKR": 0, "AED": 0, "CSIM": 1, "CLS": 1, "IOU": 1, "FES": 1, "SSIM": 1}
    assert figures(found) == pytest.approx(expected)


def test_a_shift_by_k_pixels(see_spot: Perception, spot: Spot) -> None:
    driving = [spot(10 * i, 5) for i in range(20)]
    found = score(see_spot, driving, None, None, ours=[spot(10 * i + 8, 5 + 6) for i in range(20)])
    assert found.figure("AKD") == pytest.approx(10)
    assert found.figure("IOU") == pytest.approx(8 * 10 / (2 * 256 - 8 * 10))
    assert set(found.scores) == {"AKD", "MKR", "CLS", "IOU", "FES"}  # nothing that needs a target or a source


def test_a_correlation_is_that_of_the_whole_clip(see_spot: Perception, spot: Spot) -> None:
    """Within each batch it would be 1; the driver jumps back between them, and the generated one goes on."""

    def see_heads(observed: Observed) -> Feature:
        points = observed.see("keypoints")
        return Feature(np.repeat(points.values[:, 0, :1], 6, 1), points.found[:, 0])

    see_spot.observers["head"] = see_heads
    there, back = [*range(0, 2 * BATCH, 2)], [*range(0, 2 * BATCH, 2)]
    on = [*range(0, 2 * BATCH, 2), *range(2 * BATCH, 4 * BATCH, 2)]
    found = score(see_spot, [spot(x) for x in there + back], None, None, ours=[spot(x) for x in on])
    expected = np.corrcoef(there + back, on)[0, 1]
    assert found.figure("yaw r") == pytest.approx(expected) and expected < 0.6
    assert found.judged("yaw r") == 2 * BATCH


def test_the_difficulty_is_the_distance_of_the_source(see_spot: Perception, spot: Spot) -> None:
    driving = [spot(3 * i, 4 * i) for i in range(9)]
    found = score(see_spot, driving, None, spot(0, 0), ours=[spot(3 * i, 4 * i + i // 3) for i in range(9)])
    assert found.difficulty is not None
    np.testing.assert_allclose(found.difficulty.totals, 5.0 * np.arange(9))
    thirds = Scored(see_spot, ("ours",), [found]).thirds("ours", "AKD")
    assert [third and third.value for third in thirds] == pytest.approx([0, 1, 2])


def test_a_missing_person_is_counted(see_spot: Perception, spot: Spot) -> None:
    driving = [spot(10)] * 4
    found = score(see_spot, driving, None, spot(), ours=[spot(10), EMPTY, spot(10), EMPTY])
    assert figures(found) == pytest.approx({"AKD": 0, "MKR": 0.5, "CSIM": 1, "CLS": 0.5, "IOU": 0.5, "FES": 0.5})
    assert found.judged("AKD") == 2 and found.judged("IOU") == 4
    assert found.problems == ("no spot in 2 of 4 generated frames",)


def test_no_face_anywhere(see_spot: Perception) -> None:
    """Figures that nobody can tell are none, and the reason is told."""
    found = score(see_spot, [EMPTY] * 3, None, EMPTY, ours=[EMPTY] * 3)
    assert found.figure("AKD") is None and found.figure("CSIM") is None and found.figure("CLS") == 0
    assert "no spot in 3 of 3 driving frames" in found.problems and "no spot in the source" in found.problems
    scored = Scored(see_spot, ("ours",), [found])
    assert [metric.name for metric in scored.shown()] == ["CLS"]
    assert scored.estimate("ours", "AKD") is None


@pytest.mark.parametrize(("made", "common"), [(7, 7), (40, 20)])
def test_lengths_that_differ(see_spot: Perception, spot: Spot, made: int, common: int) -> None:
    found = score(see_spot, [spot(10)] * 20, None, None, ours=[spot(13)] * made)
    assert found.frames == common and found.figure("AKD") == 3
    (told,) = found.problems
    assert told == f"lengths differ (20 driving, {made} generated): the first {common} frames were scored"


def test_a_target_that_is_too_short(see_spot: Perception, spot: Spot) -> None:
    found = score(see_spot, [spot(10)] * 20, [spot(10)] * 17, None, ours=[spot(10)] * 20)
    assert found.frames == 20 and found.judged("L1") == 17 and found.judged("AKD") == 20
    assert found.problems[0].startswith("lengths differ (20 driving, 17 target, 20 generated)")


def test_one_driver_for_several_methods(see_spot: Perception, spot: Spot) -> None:
    driving = [spot(10)] * 5
    a, b = score_video(case(driving, a=[spot(11)] * 5, b=[spot(12)] * 4), see_spot)
    assert (a.method, a.figure("AKD"), a.problems) == ("a", 1, ())
    assert (b.method, b.figure("AKD"), b.frames) == ("b", 2, 4)


def test_a_video_that_breaks_off(see_spot: Perception, spot: Spot) -> None:
    def broken() -> Iterator[Frame]:
        yield from [spot(10)] * 3
        raise MaskanimError("a.mp4", "damaged", "a complete video")

    found = score(see_spot, [spot(10)] * 5, None, None, ours=broken())  # type: ignore[arg-type]
    assert found.frames == 3
    assert any("generated: a.mp4: damaged" in told for told in found.problems)


def test_videos_that_cannot_be_scored_do_not_stop_the_others(see_spot: Perception, spot: Spot) -> None:
    def refuses(_: ExitStack) -> Streams:
        raise MaskanimError("b.mp4", "an empty file", "a video")

    cases = [
        Case("b", ("ours",), refuses),
        case([spot(10)], ours=[spot(10)], none=[]),
        Case("c", ("ours",), lambda _: Streams(iter(()), {"ours": iter(())})),
    ]
    told: list[tuple[int, str]] = []

    class Told:
        def update(self, done: int, total: int | None, note: str = "") -> None:
            assert total == 3
            told.append((done, note))

    videos, failures = score_all(cases, see_spot, progress=Told())
    assert [(each.video, each.method) for each in videos] == [("a", "ours")]
    assert told == [(0, "b"), (1, "a"), (1, "a, frame 1"), (2, "c")]
    assert set(failures) == {"b", "a by none", "c"}
    assert failures["b"] == "b.mp4: an empty file; expected a video."


def test_memory_does_not_grow_with_the_video(see_spot: Perception, spot: Spot) -> None:
    """No more than a batch of each stream is alive: frames are weighed by what the reader has handed out and lost."""
    import weakref

    alive: list[weakref.ref[Frame]] = []
    most = 0

    def frames() -> Iterator[Frame]:
        nonlocal most
        for _ in range(6 * BATCH):
            image = spot(10)
            alive.append(weakref.ref(image))
            most = max(most, sum(each() is not None for each in alive))
            yield image
            del image

    score(see_spot, frames(), None, None, ours=frames())  # type: ignore[arg-type]
    assert most <= 4 * BATCH  # two streams: the batch that is judged, and the one that is read


def test_every_so_many_frames(tmp_path: Path, spot: Spot, save: Callable[[Path, Sequence[Frame]], Path]) -> None:
    path = save(tmp_path / "a.mp4", [spot(10 * i) for i in range(9)])
    with ExitStack() as stack:
        found = list(open_squares(path, stack, every=4))
    assert [frame[0].any(-1).argmax() for frame in found] == [0, 40, 80]


def test_strips_keep_a_few_frames_of_any_length(see_spot: Perception, spot: Spot) -> None:
    driving = [spot(i % 200) for i in range(150)]
    (found,) = score_video(case(driving, ours=driving), see_spot, keep_strip=True)
    rows = "driving", "ours"
    assert found.strip is not None and found.strip.picture(rows, 6).shape == (2 * 128, 6 * 128, 3)
    assert 6 * 128 <= found.strip.picture(rows, 100).shape[1] <= 12 * 128
    (found,) = score_video(case(driving, None, spot(shade=128), ours=driving), see_spot, keep_strip=True)
    assert found.strip is not None and found.strip.picture(rows, 6).shape == (2 * 128, 7 * 128, 3)
