"""A bundle on a GPU: by TensorRT, by TensorRT-RTX, or by ONNX Runtime's CUDA provider."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from maskanim.bundle import Bundle
from maskanim.driver import Gpu, first_gpu
from maskanim.progress import ProgressBar
from maskanim.runtime.backends import RunOptions
from maskanim.runtime.cuda.device import Device, open_device
from maskanim.runtime.cuda.networks import DeviceNetwork
from maskanim.runtime.cuda.runner import CudaRunner, StreamingRunner
from maskanim.spec import NETWORK_NAMES, NetworkName
from maskanim.trt.graphs import engine_graph, require_precision
from maskanim.trt.libraries import LibraryName, load_library
from maskanim.trt.records import EngineRequest, Target, parse_precision
from maskanim.trt.store import find_or_build

Opened = tuple[StreamingRunner, str]


def open_trt(bundle: Bundle, options: RunOptions) -> Opened:
    """By TensorRT, from engines built for this GPU; they are built now if there are none.

    Returns:
        The runner, and a line on what runs it.

    Raises:
        MissingPackageError: a package that is needed is not installed.
        MaskanimError: there is no GPU, the engines cannot be built, or the GPU cannot run them.
    """
    return _open_engines("trt", bundle, options)


def open_rtx(bundle: Bundle, options: RunOptions) -> Opened:
    """By TensorRT-RTX; otherwise as `open_trt`."""
    return _open_engines("rtx", bundle, options)


def open_ort(bundle: Bundle, options: RunOptions) -> Opened:
    """By ONNX Runtime's CUDA provider, from the bundle's ONNX files; returns and raises as `open_trt`."""
    gpu = first_gpu()
    from maskanim.runtime.cuda import ort

    with ExitStack() as resources:
        device = resources.enter_context(open_device(options.cuda_binding))
        networks = ort.open_networks(_graphs(bundle, options))
        return _opened(resources, device, networks, bundle, options, ort.title(), gpu)


def _open_engines(name: LibraryName, bundle: Bundle, options: RunOptions) -> Opened:
    """The bundle's engines for this GPU; where there are none, says why and builds them."""
    gpu = first_gpu()
    library = load_library(name)
    from maskanim.runtime.cuda import tensorrt

    with ExitStack() as resources:
        device = resources.enter_context(open_device(options.cuda_binding))
        precision = parse_precision(options.precision)
        require_precision(bundle.manifest, precision, options.least_psnr)
        request = EngineRequest(
            library=name,
            version=library.version,
            gpu=Target(name=gpu.name, capability=gpu.capability),
            precision=precision,
            batches=(1, options.batch),  # a source is encoded by itself
            lean=library.is_lean,
        )
        with ProgressBar("percent") as bar:
            engines = find_or_build(bundle, library, request, bar)
        built = engines.record.key.options
        weights = _graphs(bundle, options) if built.strip_weights else None
        networks = tensorrt.open_networks(engines.contents, library, built, weights)
        return _opened(resources, device, networks, bundle, options, library.full_name, gpu, engines.folder)


def _graphs(bundle: Bundle, options: RunOptions) -> dict[NetworkName, bytes]:
    precision = parse_precision(options.precision)
    require_precision(bundle.manifest, precision, options.least_psnr)
    return {name: engine_graph(bundle, name, precision, "gpu") for name in NETWORK_NAMES}


def _opened(
    resources: ExitStack,
    device: Device,
    networks: Mapping[NetworkName, DeviceNetwork],
    bundle: Bundle,
    options: RunOptions,
    library: str,
    gpu: Gpu,
    kept_in: Path | None = None,
) -> Opened:
    """Takes over what `resources` hold."""
    for network in networks.values():
        resources.callback(network.close)
    perturbation = bundle.manifest.model.perturbation
    cuda = resources.enter_context(CudaRunner(device, networks, perturbation, batch=options.batch, graph=options.graph))
    runner = StreamingRunner(cuda, resources.pop_all())
    runner.kept_in = kept_in
    where = f"{gpu.name} ({gpu.architecture})"
    return runner, f"{library}, {where}, {options.precision.upper()}, through {device.binding}"
