"""Stands in for PyCUDA, which is source only and needs the CUDA toolkit to be installed."""
