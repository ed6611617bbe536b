"""maskanim: animate one picture by a driving video, after *Image Animation with Perturbed Masks* (CVPR 2022)."""

import logging

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # quiet, until a program or a command shows the log
