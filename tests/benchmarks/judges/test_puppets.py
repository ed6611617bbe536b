"""The key-point network: what it says of itself holds, and it is what its training command makes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from maskanim.benchmarks.judges.puppets import (
    CELLS,
    WEIGHTS,
    Finder,
    NumpyLayers,
    distances,
    expected_places,
    heat_maps,
    shrink,
    softmax,
)
from maskanim.benchmarks.judges.train_puppets import Network, drawn, held_out_error, load, loss, make
from maskanim.train.puppets import KEYPOINTS, PARTS, SIDES, Puppet

FIRST = 20_000  # identities that neither its training nor its own measurement saw
LOWER_ARM = ("forearm", "hand")
FRAMES = list(drawn(FIRST, 100, "test"))


@pytest.fixture(scope="module")
def finder() -> Finder:
    return Finder.load()


def test_it_keeps_its_promise_on_true_frames(finder: Finder) -> None:
    away = distances(finder.find([frame.image for frame in FRAMES]), FRAMES)
    assert len(away) == sum(frame.visible.sum() for frame in FRAMES)
    assert away.mean() < 1.2 * finder.about["held_out_error"]  # the mean of 100 frames varies by some percent
    assert finder.about["held_out_error"] < 4  # a third of what a model is allowed


def test_blur_hardly_disturbs_it(finder: Finder) -> None:
    """Animated frames are softer than drawn ones; that alone must not count as distance."""
    blurred = [cv2.GaussianBlur(frame.image, (0, 0), 3) for frame in FRAMES]
    assert distances(finder.find(blurred), FRAMES).mean() < 1.6 * finder.about["held_out_error"]


def test_it_cannot_guess_a_hand_that_is_missing(finder: Finder) -> None:
    """A model that leaves arms out must not pass because the network knows where arms usually are."""
    pictures = []
    for i, frame in enumerate(FRAMES):
        erased = np.isin(frame.parts, [PARTS.index(f"{side}_{part}") for side in SIDES for part in LOWER_ARM])
        erased = cv2.dilate(erased.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0  # the anti-aliased rim too
        pictures.append(np.where(erased[..., None], Puppet(FIRST + i, "test").background, frame.image))
    away = np.linalg.norm(finder.find(pictures) - np.stack([frame.keypoints for frame in FRAMES]), axis=-1)
    wrists, head = [KEYPOINTS.index(f"{side}_wrist") for side in SIDES], KEYPOINTS.index("head")
    assert away[:, wrists].mean() > 10 and away[:, head].mean() < 2


def test_it_tells_puppets_apart_from_each_other(finder: Finder) -> None:
    wrong = [*FRAMES[1:], FRAMES[0]]
    assert distances(finder.find([frame.image for frame in FRAMES]), wrong).mean() > 15


def test_the_mean_place_by_hand() -> None:
    logits = np.full((1, CELLS, CELLS, 2), -1000.0, np.float32)
    logits[0, 3, 5, 0] = 0
    logits[0, 3, [5, 6], 1] = 7
    # A cell is 8 pixels wide, and pixel centres are whole numbers: cell 0 is centred at 3.5.
    np.testing.assert_allclose(expected_places(softmax(logits))[0], [[43.5, 27.5], [47.5, 27.5]])


def test_numpy_computes_what_pytorch_trained() -> None:
    torch.manual_seed(3)
    network = Network().train()
    images = shrink([frame.image for frame in FRAMES[:3]])
    with torch.no_grad():
        planes = torch.from_numpy(images.transpose(0, 3, 1, 2))
        network(planes)  # batch norm sees something, so that folding it in does something
        expected = network.eval()(planes).numpy()
    found = heat_maps(NumpyLayers(network.folded()), images).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(
        found, expected, atol=1e-5 * np.abs(expected).max()
    )  # float32, another order of additions


def test_the_loss_is_least_at_the_truth() -> None:
    data = load(2)
    rows, columns = torch.meshgrid(torch.arange(float(CELLS)), torch.arange(float(CELLS)), indexing="ij")

    def at(places: torch.Tensor) -> float:
        x, y = places[..., 0, None, None], places[..., 1, None, None]
        return loss(-((columns - x) ** 2 + (rows - y) ** 2) / 2, data.places, data.weights).item()

    shifted = [at(data.places + torch.tensor(shift)) for shift in ([1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0])]
    assert at(data.places) < min(shifted)


def test_training_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = (make(tmp_path / name, puppets=8, steps=3, held_out=4) for name in ("a.npz", "b.npz"))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert first.about == second.about and first.about["steps"] == 3
    again = Finder.load(tmp_path / "a.npz")
    assert held_out_error(again, 4) == pytest.approx(first.about["held_out_error"], abs=1e-3)


def test_the_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size < 2e6
    assert Finder.load().weights["head.bias"].shape == (len(KEYPOINTS),)
