"""What the page has to offer, and whether a request asks for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from maskanim.app.limits import Limits, check_uploaded
from maskanim.app.worker import ModelWorker
from maskanim.errors import MaskanimError


class AppContext(NamedTuple):
    """What the page works with."""

    worker: ModelWorker  # runs the model
    models: dict[str, str | Path]  # to choose from, by their names on the page
    engines: list[str]  # to choose from
    limits: Limits  # on what is sent
    folder: Path  # where uploads and results are

    def model(self, name: object) -> str | Path:
        """The model of this name.

        Raises:
            MaskanimError: it is not one of those to choose from.
        """
        if not isinstance(name, str) or name not in self.models:
            raise MaskanimError("model", f"'{name}'", f"one of {', '.join(self.models)}")
        return self.models[name]

    def engine(self, name: object) -> str:
        """The engine of this name; raises as `model`."""
        if not isinstance(name, str) or name not in self.engines:
            raise MaskanimError("engine", f"'{name}'", f"one of {', '.join(self.engines)}")
        return name

    def uploaded(self, value: Any, noun: str) -> Path:
        """The file that was chosen.

        Raises:
            MaskanimError: there is none, or it was not uploaded here.
        """
        if not value:
            raise MaskanimError(noun, "none was chosen", "one", "Drop one, or go back to the demo's")
        path = value.get("video", value) if isinstance(value, dict) else value
        return check_uploaded(path.get("path") if isinstance(path, dict) else path, self.folder)
