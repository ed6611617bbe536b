"""The visible label."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.ops import Frame
from maskanim.provenance import LABEL, check_label, draw_label

SIZES = [(64, 64), (65, 127), (256, 256), (256, 2048), (1080, 1920)]


def linear(values: np.ndarray) -> np.ndarray:
    """SRGB's grey levels as relative luminance."""
    levels = values / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("background", [0, 128, 255])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_label_can_be_read_and_covers_only_a_corner(height: int, width: int, background: int) -> None:
    frame: Frame = np.full((height, width, 3), background, np.uint8)
    labelled = draw_label(frame)
    assert (frame == background).all() and labelled.shape == frame.shape and labelled.dtype == np.uint8
    rows, columns = np.nonzero((labelled != frame).any(axis=-1))
    assert rows.min() > height * 0.6 and columns.min() > width - min(height, width) * 0.85
    box = labelled[rows.min() :, columns.min() :].mean(axis=-1)
    assert np.ptp(rows) >= 8  # pixels; the letters of the smallest font are seven high
    # WCAG 2 asks for 4.5 to 1 of normal text; strokes thinner than a pixel do not reach full white.
    ink, paper = linear(np.percentile(box, 98)), linear(np.percentile(box, 40))
    assert (ink + 0.05) / (paper + 0.05) > 4.5


def test_other_texts_look_different() -> None:
    frame: Frame = np.zeros((256, 256, 3), np.uint8)
    assert (draw_label(frame, "AI") != draw_label(frame, LABEL)).any()


def test_a_long_text_is_drawn_smaller() -> None:
    frame: Frame = np.full((256, 256, 3), 255, np.uint8)
    labelled = draw_label(frame, "made by a neural network, not filmed")
    assert (labelled[:, 0] == 255).all()  # it ends before the left border


@pytest.mark.parametrize("text", ["", "   ", "künstlich", "two\nlines", "tab\t"])
def test_a_text_that_cannot_be_drawn(text: str) -> None:
    with pytest.raises(MaskanimError, match="printable ASCII"):
        check_label(text, 256)


def test_a_text_that_does_not_fit() -> None:
    check_label(LABEL, 64)
    with pytest.raises(MaskanimError, match="too long for frames of 64 pixels"):
        check_label("made by a neural network", 64)
