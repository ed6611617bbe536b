"""How Triton serves a model: its config.pbtxt."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.provenance import Claim
from maskanim.runtime.backends import AUTO, RunOptions, check_backend
from maskanim.spec import IMAGE_SIZE

NAMES = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Serving:
    """How a model is served.

    Raises:
        MaskanimError: a value that cannot be.
    """

    name: str = "maskanim"  # of the model in the repository
    # engine, precision, batch, least_psnr: as of `maskanim-run`; the batch is of frames in one request
    engine: str = AUTO
    precision: str = "fp16"
    batch: int = 1
    sequences: int = 8  # how many are animated at a time by each instance; more wait until one ends
    idle_seconds: float = 10.0  # after which a sequence without requests is taken for abandoned
    instances: int = 1  # of the model on each GPU, or on the processor where there is none
    least_psnr: float = 45.0

    def __post_init__(self) -> None:
        if not NAMES.fullmatch(self.name):
            raise MaskanimError(f"Triton model {self.name!r}", "no name for a folder", "letters, digits, '-', '_', '.'")
        check_backend(self.engine, RunOptions(self.batch, self.precision, least_psnr=self.least_psnr))
        for what, count in (("sequences", self.sequences), ("instances", self.instances)):
            if count < 1:
                raise MaskanimError(f"Triton {what}", str(count), "a positive number")
        if not 0.1 <= self.idle_seconds <= 86400:
            raise MaskanimError("Triton idle time", f"{self.idle_seconds:g} s", "from a tenth of a second to a day")


def config_pbtxt(serving: Serving, bundle: Bundle) -> str:
    """The model's configuration, in the text format of Triton's ModelConfig.

    Requests of one sequence run in order and one at a time; those of different sequences may come to one instance
    together, whatever the sizes of their frames. The parameters tell clients what to write into a `Claim`.
    """
    claim = Claim.of(bundle)
    parameters = {
        "engine": serving.engine,
        "precision": serving.precision,
        "batch": str(serving.batch),
        "least_psnr": f"{serving.least_psnr:g}",
        "model": claim.model,
        "model_sha256": claim.model_sha256,
    }
    quoted = {key: json.dumps(value, ensure_ascii=False) for key, value in parameters.items()}
    lines = (f'parameters {{ key: "{key}", value: {{ string_value: {text} }} }}\n' for key, text in quoted.items())
    return _scheduling(serving) + "".join(lines)


def _scheduling(serving: Serving) -> str:
    return f"""\
name: "{serving.name}"
backend: "python"
max_batch_size: {serving.sequences}
input [
  {{
    name: "source" # RGB, height x width x 3; with the first request of a sequence, and with any that changes it
    data_type: TYPE_UINT8
    dims: [ -1, -1, 3 ]
    optional: true
    allow_ragged_batch: true
  }},
  {{
    name: "driving" # frames x height x width x 3
    data_type: TYPE_UINT8
    dims: [ -1, -1, -1, 3 ]
    allow_ragged_batch: true
  }}
]
output [
  {{
    name: "frames" # one for each driving frame
    data_type: TYPE_UINT8
    dims: [ -1, {IMAGE_SIZE}, {IMAGE_SIZE}, 3 ]
  }}
]
sequence_batching {{
  max_sequence_idle_microseconds: {round(serving.idle_seconds * 1e6)}
  control_input [
    {{
      name: "START"
      control [ {{ kind: CONTROL_SEQUENCE_START, bool_false_true: [ false, true ] }} ]
    }},
    {{
      name: "END"
      control [ {{ kind: CONTROL_SEQUENCE_END, bool_false_true: [ false, true ] }} ]
    }}
  ]
  oldest {{
    max_candidate_sequences: {serving.sequences}
  }}
}}
instance_group [ {{ count: {serving.instances}, kind: KIND_AUTO }} ] # on each GPU, or on the processor
"""
