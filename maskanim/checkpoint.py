"""The checkpoint file that training writes and export reads. Never imports torch at import time."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from maskanim.atomic import replacing
from maskanim.errors import MaskanimError, needs_extra

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "maskanim-checkpoint"
VERSION = 1

PICKLE_START = b"\x80"
SAFETENSORS = ".safetensors"
# What people keep beside weights: no code, but unpickling it would need its class.
PLAIN_TYPES = ("argparse.Namespace", "collections.defaultdict", "pathlib.PosixPath", "pathlib.WindowsPath")


@dataclass
class Checkpoint:
    """What `maskanim-train` writes and `maskanim-export` reads.

    Attributes:
        settings: `TrainSettings` as plain values.
        networks: state dict of `Networks`.
        optimizer: state dict of Adam.
        step: steps done, the warm-up's included.
        provenance: the command, the data, the true name of the perceptual network, library versions.
        averaged: state dict of the average of the networks over the steps, empty where none was asked for.
        discriminator: the weights and Adam's state of the discriminator, empty without an adversarial loss.
    """

    settings: dict[str, Any]
    networks: dict[str, Tensor]
    optimizer: dict[str, Any]
    step: int
    provenance: dict[str, Any]
    format: str = field(default=FORMAT)
    version: int = field(default=VERSION)
    averaged: dict[str, Tensor] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> dict[str, Tensor]:
        """The networks to animate with: the average where there is one."""
        return self.averaged or self.networks

    def save(self, path: Path) -> None:
        """Write it so that `path` always holds a whole checkpoint, even if the power fails."""
        import torch

        with replacing(path) as partial, partial.open("wb") as file:
            torch.save(dict(vars(self)), file)
            file.flush()
            os.fsync(file.fileno())


def load_own(values: dict[str, Any]) -> Checkpoint | None:
    """The checkpoint in an unpickled dict, or None where it is not a whole one of ours of this version."""
    ours = values.get("format") == FORMAT and values.get("version") == VERSION
    values = {"averaged": {}, "discriminator": {}} | values  # from before there were any
    if not ours or set(values) != {entry.name for entry in fields(Checkpoint)}:
        return None
    names = ("settings", "networks", "optimizer", "provenance", "averaged", "discriminator")
    dicts = all(isinstance(values[key], dict) for key in names)
    return Checkpoint(**values) if dicts and isinstance(values["step"], int) else None


class CheckpointFile(NamedTuple):
    """What a checkpoint file holds, and the sha256 of the bytes that it was read from."""

    values: dict[str, Any]
    sha256: str


def read_file(path: Path, subject: str) -> CheckpointFile:
    """Read a file that holds a dict of tensors and plain values, on the CPU, without running any code of the file.

    Args:
        path: a file of ``torch.save``, in its zip format or the one before that, or of safetensors.
        subject: what the file is called in an error, e.g. ``--ckpt last.pt``.

    Raises:
        MaskanimError: no such file, an empty or damaged one, something else, or a pickle that asks for code.
    """
    wanted = "a training checkpoint"
    if not path.is_file():
        raise MaskanimError(subject, "a folder" if path.is_dir() else "no such file", wanted)
    try:
        opened = path.open("rb")
    except OSError as error:
        raise MaskanimError(subject, f"not readable ({error.strerror})", wanted) from None
    # Opened once: a training that goes on may put a newer checkpoint in this place at any time.
    with opened as file:
        if not file.peek(1):
            raise MaskanimError(subject, "an empty file", wanted)
        values = _safetensors(file, subject) if path.suffix == SAFETENSORS else _unpickled(file, subject)
        if not isinstance(values, dict):
            raise MaskanimError(subject, f"a PyTorch file of a {type(values).__name__}", wanted)
        digest = hashlib.sha256()
        file.seek(0)
        while block := file.read(1 << 20):
            digest.update(block)
        return CheckpointFile(values, digest.hexdigest())


def _unpickled(file: BinaryIO, subject: str) -> Any:
    import torch
    from torch.torch_version import TorchVersion

    try:
        # Some checkpoints carry torch.__version__ as it is, a TorchVersion: a string with comparisons, no more.
        allowed = [TorchVersion, *_numpy_scalars()]
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore")  # what torch would say of a foreign file, the error says in a line
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file ends in whichever of a dozen types its first bad byte leads to
        raise _refusal(file, subject, str(error)) from None


def _numpy_scalars() -> list[Any]:
    """What a pickled number of NumPy asks for: its reconstructor, by its old and its new name, and the types."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    codes = np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"
    return [*((scalar, name) for name in names), np.dtype, *{type(np.dtype(code)) for code in codes}]


def _safetensors(file: BinaryIO, subject: str) -> dict[str, Any]:
    with needs_extra("reading safetensors", "export"):
        from safetensors import SafetensorError
        from safetensors.torch import load
    try:
        return dict(load(file.read()))
    except (SafetensorError, ValueError) as error:
        received, again = f"a damaged, cut off or foreign file ({error})", "Copy it again from where it is whole"
        raise MaskanimError(subject, received, "a file of safetensors", again) from None


def _refusal(file: BinaryIO, subject: str, message: str) -> MaskanimError:
    """Tell a file that asks for code, which torch names as a GLOBAL, from one that is no checkpoint."""
    wanted, again = "a checkpoint of tensors and plain values", "Copy it again from where it was trained"
    code = re.search(r"GLOBAL (\S+)", message)
    file.seek(0)
    if code and code[1] in PLAIN_TYPES:
        received = f"a pickle with a {code[1]} beside the weights, which is not read; nothing of it was run"
        again = "Save it again without that"
    elif code:
        received = f"a pickle that asks to run code ({code[1]}); nothing of it was run"
        again = "Open it with nothing else unless you trust whoever made it"
    elif file.read(1) == PICKLE_START:
        received = "a pickle that torch.save did not write or that is cut off; nothing of it was run"
    else:
        received = "a damaged, cut off or foreign file"
    return MaskanimError(subject, received, wanted, again)
