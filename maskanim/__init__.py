"""maskanim: animate one picture by a driving video, after *Image Animation with Perturbed Masks* (CVPR 2022)."""

__version__ = "0.1.0"
