"""What is judged: anything that animates a picture."""

from __future__ import annotations

from typing import Any, Protocol

from maskanim.ops import Frame


class Animates(Protocol):
    """The part of `runtime.Animator` that the figures need."""

    def encode_source(self, image: Frame, /) -> Any: ...
    def animate(self, source: Any, frame: Frame, /) -> Frame: ...
