"""Four sessions as the networks of `pipeline`."""

from __future__ import annotations

from collections.abc import Mapping

from maskanim.ops import Array
from maskanim.runtime.sessions.session import Session
from maskanim.spec import NetworkName


class SessionNets:
    """The four networks as `pipeline.Nets` over NumPy arrays; arguments and results as in `Session.run`."""

    def __init__(self, sessions: Mapping[NetworkName, Session]) -> None:
        self.sessions = sessions

    def m(self, image: Array, /) -> Array:
        return self.sessions["m"].run(image)

    def r(self, source_small: Array, source_mask: Array, perturbed_mask: Array, /) -> Array:
        return self.sessions["r"].run(source_small, source_mask, perturbed_mask)

    def l(self, source_small: Array, source_mask: Array, refined_mask: Array, /) -> Array:  # noqa: E743 - the paper's name
        return self.sessions["l"].run(source_small, source_mask, refined_mask)

    def h(self, source: Array, source_mask_up: Array, refined_mask_up: Array, coarse: Array, /) -> Array:
        return self.sessions["h"].run(source, source_mask_up, refined_mask_up, coarse)

    def close(self) -> None:
        """Close the four sessions."""
        for session in self.sessions.values():
            session.close()
