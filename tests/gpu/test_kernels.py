"""Each kernel on a GPU against its meaning in `ops`, compiled by NVRTC and launched through every binding there is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from maskanim import ops
from maskanim.errors import MaskanimError
from maskanim.runtime.cuda.device import Device, open_device
from maskanim.runtime.cuda.kernels import ADDRESS, KERNELS, compile_cubin
from maskanim.spec import Perturbation

RNG = np.random.default_rng(0)
TYPES = {"half": np.float16, "float": np.float32}
BATCHES = [1, 3, 8]

AnyArray = NDArray[Any]
Launch = Callable[..., AnyArray]


class Inside(NamedTuple):
    """An argument that points into an array, some bytes behind its first."""

    array: AnyArray
    offset: int


def through(device: Device) -> Launch:
    """Launch a kernel on copies of host arrays in device memory, with one of maskanim's own bindings."""

    def launch(name: str, output: AnyArray, *arguments: Any) -> AnyArray:
        with ExitStack() as owned:
            stream = owned.enter_context(device.stream())
            owned.callback(stream.synchronize)

            def address(array: AnyArray) -> int:
                memory = owned.enter_context(device.allocate(array.nbytes))
                device.upload(memory.address, array, stream)
                return memory.address

            written = address(output)
            values = [_value(argument, address, written) for argument in arguments]
            device.kernels().launch(KERNELS[name], len(output), stream, *values)
            device.download(output, written, stream)
            stream.synchronize()
        return output

    return launch


def through_cupy(device: Device, folder: Path) -> Launch:
    """The same cubin, launched by CuPy. CuPy must not compile it: it adds -ftz=true, and subnormal masks become 0."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    cubin = folder / "kernels.cubin"
    cubin.write_bytes(compile_cubin("sm_{}{}".format(*device.compute_capability)))
    module = cupy.RawModule(path=str(cubin))

    def launch(name: str, output: AnyArray, *arguments: Any) -> AnyArray:
        kernel, kept = KERNELS[name], [cupy.asarray(output)]

        def address(array: AnyArray) -> int:
            kept.append(cupy.asarray(array))
            return int(kept[-1].data.ptr)

        values = kernel.arguments(*(_value(argument, address, int(kept[0].data.ptr)) for argument in arguments))
        taken = tuple(np.uint64(value) if isinstance(value, ADDRESS) else value for value in values)
        module.get_function(name)(kernel.grid(len(output)), kernel.block, taken)
        return np.asarray(cupy.asnumpy(kept[0]))

    return launch


def _value(argument: Any, address: Callable[[AnyArray], int], output: int) -> Any:
    if argument is ...:
        return output
    if isinstance(argument, Inside):
        return address(argument.array) + argument.offset
    return address(argument) if isinstance(argument, np.ndarray) else argument


@pytest.fixture(scope="module", params=["maskanim", "cupy"])
def launch(request: pytest.FixtureRequest, device: Device, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """A kernel by name, the shape and dtype of its output, and its arguments, ``...`` for the output."""
    own = request.param == "maskanim"
    launch = through(device) if own else through_cupy(device, tmp_path_factory.mktemp("cubin"))

    def filled(name: str, shape: tuple[int, ...], dtype: Any, *arguments: Any) -> AnyArray:
        results = []
        for byte in (0xA5, 0x5A):  # what is not written differs
            output = np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, byte, np.uint8).view(dtype).reshape(shape)
            results.append(launch(name, output, *arguments))
        np.testing.assert_array_equal(bits(results[0]), bits(results[1]))
        return results[0]

    return filled


def bits(array: AnyArray) -> AnyArray:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def assert_same_bits(got: AnyArray, expected: AnyArray) -> None:
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(bits(got), bits(expected))


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 65), (256, 256), (257, 300), (480, 640), (1080, 1920)])
def test_preprocess(launch: Launch, height: int, width: int, batch: int, precision: str) -> None:
    pictures = RNG.integers(0, 256, (batch, height, width, 3), np.uint8)
    square = ops.centre_square(pictures[0])
    corner = Inside(pictures, square.ctypes.data - pictures.ctypes.data)
    strides = pictures.strides[0], square.strides[0]
    shape = (batch, 3, 256, 256)
    image = launch(f"preprocess_{precision}", shape, TYPES[precision], corner, *strides, len(square), ...)
    expected = np.concatenate([ops.preprocess(picture) for picture in pictures])
    # OpenCV rounds between its two passes, and the half result lies within one more ulp, 2**-11 below 1.
    tolerance = 1e-6 if precision == "float" else 2.0**-11 + 1e-6
    np.testing.assert_allclose(image.astype(np.float32), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_downscale(launch: Launch, batch: int, precision: str) -> None:
    dtype = TYPES[precision]
    images = RNG.random((batch, 3, 256, 256), np.float32).astype(dtype)
    images[:, 1] *= dtype(1e-4)  # FP16 denormals, where the rounding is another
    small = launch(f"downscale_{precision}", (batch, 3, 64, 64), dtype, images, ...)
    assert_same_bits(small, ops.downscale(images.astype(np.float32)).astype(dtype))


def masks(batch: int) -> dict[str, AnyArray]:
    random = RNG.random((batch, 1, 64, 64), np.float32)
    return {
        "random": random,
        "tied": np.floor(random * 4) / 4,
        "mostly zero": np.where(random < 0.6, 0, random).astype(np.float32),
        "constant": np.full_like(random, 0.3),
        "zero": np.zeros_like(random),
        "half zero, half one": RNG.permuted((np.arange(random.size) % 2).astype(np.float32)).reshape(random.shape),
        "denormal": np.round(random * 4096).astype(np.float32) * np.finfo(np.float32).smallest_subnormal,
        "neighbouring floats": (bits(np.full_like(random, 0.5)) + (random * 8).astype(np.uint32)).view(np.float32),
    }


@pytest.mark.parametrize("kind", masks(1))
@pytest.mark.parametrize("batch", BATCHES)
def test_perturb(launch: Launch, batch: int, kind: str) -> None:
    mask = masks(batch)[kind]
    perturbed = launch("perturb_median", mask.shape, np.float32, mask, ...)
    assert_same_bits(perturbed, ops.perturb(mask, Perturbation()))
    for threshold in (0.3, 100 / 255):
        perturbed = launch("perturb_fixed", mask.shape, np.float32, mask, ..., threshold)
        assert_same_bits(perturbed, ops.perturb(mask, Perturbation(kind="fixed", threshold=threshold)))


@pytest.mark.parametrize("kind", masks(1))
@pytest.mark.parametrize("batch", BATCHES)
def test_upscale(launch: Launch, batch: int, kind: str) -> None:
    mask = masks(batch)[kind]
    np.testing.assert_array_equal(launch("upscale", (batch, 1, 256, 256), np.float32, mask, ...), ops.upscale(mask))


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("batch", BATCHES)
def test_postprocess(launch: Launch, batch: int, precision: str) -> None:
    images = RNG.uniform(-0.2, 1.2, (batch, 3, 256, 256)).astype(TYPES[precision])
    images[:, :, 7, :255] = ((np.arange(255) + 0.5) / 255).astype(images.dtype)  # halfway between two bytes
    picture = launch(f"postprocess_{precision}", (batch, 256, 256, 3), np.uint8, images, ...)
    np.testing.assert_array_equal(picture, np.stack([ops.postprocess(image.astype(np.float32)) for image in images]))


def test_a_gpu_that_does_not_exist_is_refused(device: Device) -> None:
    with pytest.raises(MaskanimError, match="GPU 4096"):
        open_device(device.binding, 4096)


def test_too_much_memory_is_refused_and_the_device_goes_on(device: Device, launch: Launch) -> None:
    with pytest.raises(MaskanimError, match=r"allocating .* MiB: CUDA_ERROR_OUT_OF_MEMORY"):
        device.allocate(1 << 50)
    mask = masks(1)["random"]
    assert_same_bits(launch("perturb_median", mask.shape, np.float32, mask, ...), ops.perturb(mask, Perturbation()))
