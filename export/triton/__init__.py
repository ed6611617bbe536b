"""A bundle as a model repository of NVIDIA's Triton Inference Server."""

from maskanim.export.triton.config import Serving
from maskanim.export.triton.repository import check_repository, model_source, write_repository

__all__ = ["Serving", "check_repository", "model_source", "write_repository"]
