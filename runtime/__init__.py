"""Bundle to frames. Never imports torch; an inference library is imported when a model is opened with it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskanim.runtime.animator import Animator

__all__ = ["Animator"]


def __getattr__(name: str) -> object:
    """Animator, imported when it is first asked for: maskanim-doctor has to start where NumPy or OpenCV is broken."""
    if name == "Animator":
        from maskanim.runtime.animator import Animator

        return Animator
    raise AttributeError(f"module {__name__} has no attribute {name}")
