"""Bundle to frames. Never imports torch; an inference library is imported when a model is opened with it."""

from maskanim.runtime.animator import Animator

__all__ = ["Animator"]
