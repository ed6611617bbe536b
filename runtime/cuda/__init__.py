"""The pipeline on an NVIDIA GPU: kernels, device memory, and the captured graph."""
