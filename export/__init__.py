"""Checkpoint to bundle: networks to ONNX, each step verified against PyTorch on real frames."""
