"""Motion files: a driving clip's perturbed masks, which are all that the method needs of it."""

from maskanim.runtime.motion.files import Motion, MotionWriter, check_motion_output, open_motion

__all__ = ["Motion", "MotionWriter", "check_motion_output", "open_motion"]
