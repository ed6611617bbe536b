"""One small interface to every inference library."""

from maskanim.runtime.sessions.engines import AUTO, ENGINES, EngineInUse, SessionNets, check_engine, open_nets
from maskanim.runtime.sessions.session import Session

__all__ = ["AUTO", "ENGINES", "EngineInUse", "Session", "SessionNets", "check_engine", "open_nets"]
