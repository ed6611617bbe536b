"""The two protocols for models, on clips and on drawn puppets, with animators whose answer is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from maskanim.benchmarks.judges import Nets
from maskanim.benchmarks.judges.perception import Perception, perceive
from maskanim.benchmarks.metrics import BY_NAME
from maskanim.benchmarks.scoring import videos as models
from maskanim.benchmarks.scoring.engine import score_all
from maskanim.benchmarks.scoring.results import Scored
from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.train.puppets import Puppet

Save = Callable[[Path, Sequence[Frame]], Path]
Spot = Callable[..., Frame]


class Known:
    """Stands in for an Animator: what it makes is a function of the source and the driving picture."""

    def __init__(self, make: Callable[[Frame, Frame], Frame]) -> None:
        self.make = make
        self.sources = 0

    def encode_source(self, image: Frame) -> Frame:
        self.sources += 1
        return image

    def animate(self, source: Frame, frame: Frame) -> Frame:
        return self.make(source, frame)


perfect, still = Known(lambda source, driving: driving), Known(lambda source, driving: source)


@pytest.fixture
def data(tmp_path: Path, spot: Spot, save: Save) -> Path:
    """Two identities, one with two clips, in test/."""
    for name, y in (("ann#1", 0), ("ann#2", 30), ("bob#1", 90)):
        save(tmp_path / "data" / "test" / f"{name}.mp4", [spot(6 * i, y) for i in range(5)])
    return tmp_path / "data"


def test_reconstruction_takes_the_first_frame_as_source(data: Path, see_spot: Perception) -> None:
    clips = models.test_clips(data)
    videos, failures = score_all(models.reconstruction(still, "still", clips), see_spot)
    assert [each.video for each in videos] == ["ann#1.mp4", "ann#2.mp4", "bob#1.mp4"] and not failures
    assert all(each.frames == 4 and each.figure("AKD") == np.mean([6, 12, 18, 24]) for each in videos)
    again, _ = score_all(models.reconstruction(perfect, "perfect", clips, every=2, most=2), see_spot)
    assert [each.video for each in again] == ["ann#1.mp4", "bob#1.mp4"]
    assert all(each.frames == 2 and each.figure("L1") == 0 and each.figure("SSIM") == 1 for each in again)


def test_animation_of_drawn_pairs(data: Path, see_spot: Perception) -> None:
    """Identities differ, pairs are distinct, and the seed decides."""
    clips = models.test_clips(data)
    pairs = models.drawn_pairs(clips, 100, seed=3)
    assert len(set(pairs)) == len(pairs) == 4
    assert all(source.identity != driving.identity for source, driving in pairs)
    assert models.drawn_pairs(clips, 2, seed=3) == pairs[:2] != models.drawn_pairs(clips, 2, seed=4)
    once = Known(lambda source, driving: driving)
    videos, _ = score_all(models.animation(once, "x", pairs[:1]), see_spot)
    assert videos[0].video == " by ".join(clip.name for clip in pairs[0])
    assert once.sources == 1 and videos[0].frames == 5 and videos[0].figure("AKD") == 0
    assert videos[0].figure("L1") is None and videos[0].difficulty is not None


def test_animation_of_listed_pairs(data: Path, see_spot: Perception, tmp_path: Path) -> None:
    listed = tmp_path / "pairs.csv"
    listed.write_text("source,driving\nann#1.mp4,bob#1.mp4\nann#1.mp4,nobody.mp4\n", "utf-8")
    pairs, missing = models.listed_pairs(listed, models.test_clips(data))
    assert [[clip.name for clip in pair] for pair in pairs] == [["ann#1.mp4", "bob#1.mp4"]]
    assert len(missing) == 1 and "nobody.mp4" in next(iter(missing))
    (found,), _ = score_all(models.animation(still, "still", pairs), see_spot)
    assert found.figure("CSIM") == pytest.approx(1) and found.figure("AKD") == pytest.approx(
        np.mean([np.hypot(6 * i, 90) for i in range(5)])
    )


def test_a_single_identity_cannot_be_animated_by_another(tmp_path: Path, spot: Spot, save: Save) -> None:
    save(tmp_path / "ann" / "1.mp4", [spot()])
    save(tmp_path / "ann" / "2.mp4", [spot()])
    with pytest.raises(MaskanimError, match="two identities"):
        models.drawn_pairs(models.test_clips(tmp_path), 5, 0)


def test_a_model_that_fails_on_a_clip_fails_on_that_clip(data: Path, see_spot: Perception) -> None:
    def refuse(source: Frame, driving: Frame) -> Frame:
        raise MaskanimError("frame", "not to its liking", "another")

    videos, failures = score_all(models.reconstruction(Known(refuse), "x", models.test_clips(data)), see_spot)
    assert not videos and all("not to its liking" in why for why in failures.values()) and len(failures) == 3


@pytest.fixture
def puppet(tmp_path: Path) -> Perception:
    return perceive("puppet", Nets(tmp_path))


def test_a_perfect_reconstruction_of_puppets(puppet: Perception) -> None:
    """The driver's side is exact; what is left is the detectors' own error on true frames."""
    videos, failures = score_all(models.puppets(perfect, "perfect", range(2), 5, rebuilt=True), puppet)
    scored = Scored(puppet, ("perfect",), videos, failures)
    found = {metric.name: scored.estimate("perfect", metric.name) for metric in scored.shown()}
    values = {name: each.value for name, each in found.items() if each}
    assert set(values) == {"L1", "AKD", "MKR", "SSIM", "CLS", "IOU"}
    assert (values["L1"], values["SSIM"], values["MKR"], values["CLS"]) == (0, 1, 0, 1)
    assert values["AKD"] < 1.5 and values["IOU"] > 0.94
    assert scored.has_thirds()


def test_a_finished_video_of_a_puppet(puppet: Perception, tmp_path: Path, save: Save) -> None:
    """Its key-points are found; its background, and with it the figure, nobody knows."""
    path = save(tmp_path / "a.mp4", [each.image for each in Puppet(0, "test").clip(2)])
    scored = Scored(puppet, ("a",), *score_all(models.finished({"a": path}, path)[0], puppet))
    assert [metric.name for metric in scored.shown()] == ["AKD", "MKR"]
    assert scored.why_not(BY_NAME["CLS"]) == "the bare background of a finished video is not known"


def test_a_puppet_that_stands_still_or_is_gone(puppet: Perception) -> None:
    (videos, _), (gone, _) = (
        score_all(models.puppets(each, "x", range(1), 4, rebuilt=False), puppet)
        for each in (still, Known(lambda source, driving: Puppet(0, "test").background))
    )
    assert videos[0].figure("AKD") == pytest.approx(25, abs=15) and (videos[0].figure("IOU") or 0) < 0.8
    assert (gone[0].figure("MKR"), gone[0].figure("CLS"), gone[0].figure("IOU")) == (1, 0, 0)
    assert gone[0].figure("AKD") is None and gone[0].problems[0] == "no figure in 4 of 4 generated frames"
