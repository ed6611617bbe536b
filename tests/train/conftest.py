"""Settings small enough to train a few steps in a second."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

SMALL = {
    "model": {"widths": {"m": 4, "r": 4, "l": 8, "h": 4}},
    "perceptual": "none",
    "lambda_pixel": 10,
    "batch": 2,
    "steps_per_epoch": 2,
    "epochs": 3,
    "decay_epochs": [1, 2],
    "identities": 8,
    "warmup": {"steps": 2, "batch": 4, "fade_steps": 2, "weight": 1.0, "gain_steps": 3, "learning_rate": 0.001},
}


@pytest.fixture
def small_config(tmp_path: Path) -> Path:
    """A YAML file of settings: two steps of warm-up and three epochs of two steps."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path
