"""Which model runs: the one that is named, else the one exported last, else the embedded demo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import typer

from maskanim.bundle import Bundle

DEMO = Path(__file__).parent / "demo"  # bundle, source.png and driving.mp4
HOME_VARIABLE = "MASKANIM_HOME"


class Choice(NamedTuple):
    """A model and why it was chosen, as every command prints it."""

    bundle: Bundle
    why: str


def home() -> Path:
    """Where the current model is remembered: $MASKANIM_HOME, or the platform's folder for application data."""
    return Path(os.environ.get(HOME_VARIABLE) or typer.get_app_dir("maskanim"))


def register(bundle: Bundle) -> None:
    """Make a bundle the current model."""
    home().mkdir(parents=True, exist_ok=True)
    partial = home() / ".current.partial"
    partial.write_text(str(bundle.path.resolve()), "utf-8")
    partial.replace(home() / "current")


def demo_bundle() -> Bundle:
    """The embedded demo model."""
    return Bundle.open(DEMO / "bundle")


def choose(model: str | None) -> Choice:
    """Open a named bundle, or the current model, or the embedded demo.

    Args:
        model: a bundle's folder, ``demo``, or None.

    Raises:
        MaskanimError: the bundle is missing or damaged; a current model is never passed over silently.
    """
    if model == "demo":
        return Choice(demo_bundle(), "the embedded demo")
    if model is not None:
        return Choice(Bundle.open(Path(model)), "named")
    current = home() / "current"
    if current.is_file():
        return Choice(Bundle.open(Path(current.read_text("utf-8"))), "exported last; choose another with --model")
    return Choice(demo_bundle(), "the embedded demo, as no model was exported yet")
