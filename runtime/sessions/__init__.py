"""One small interface to every inference library."""

from maskanim.runtime.sessions.nets import SessionNets
from maskanim.runtime.sessions.session import Session

__all__ = ["Session", "SessionNets"]
