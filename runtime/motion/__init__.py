"""Motion files: a driving clip's perturbed masks, which are all that the method needs of it."""

from maskanim.runtime.motion.coding import Precision
from maskanim.runtime.motion.reader import Motion, TimedMask, open_motion
from maskanim.runtime.motion.writer import MotionWriter, check_motion_output

__all__ = ["Motion", "MotionWriter", "Precision", "TimedMask", "check_motion_output", "open_motion"]
