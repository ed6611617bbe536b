"""kernels.cu, compiled for the processor, against what each kernel means in `ops`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskanim import ops
from maskanim.runtime.cuda.kernels import ADDRESS, KERNELS, SOURCE, Kernel
from maskanim.spec import Perturbation

RNG = np.random.default_rng(0)
MEDIAN = Perturbation()
TYPES = {"half": np.float16, "float": np.float32}
BATCHES = [1, 3]
GUARD = 4096  # bytes on either side of an output; keeps its alignment
SHUFFLES = range(5)  # ascending, descending, and three shuffles
C_TYPES = {"int": np.int32, "long long": np.int64, "float": np.float32}


def launched(host: Any, name: str, shape: tuple[int, ...], dtype: Any, *arguments: Any, **options: int) -> np.ndarray:
    """A kernel's output, launched as kernels.py says; all of it was written, and nothing around it."""
    kernel, batch = KERNELS[name], shape[0]
    outputs = []
    for fill in (0xA5, 0x5A):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = np.full(GUARD + size + GUARD, fill, np.uint8)
        output = memory[GUARD:-GUARD].view(dtype).reshape(shape)
        values = [output if argument is ... else argument for argument in arguments]
        host.launch(name, kernel.grid(batch), kernel.block, *values, **options)
        assert (memory[:GUARD] == fill).all() and (memory[-GUARD:] == fill).all()
        outputs.append(output)
    # What is not written differs, as the fillings do.
    np.testing.assert_array_equal(bits(outputs[0]), bits(outputs[1]))
    return outputs[0]


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def assert_same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(bits(got), bits(expected))


# ---- The table of kernels.py


def test_kernels_and_their_parameters_are_those_of_the_source() -> None:
    declared = re.findall(
        r'extern "C" __global__ void (?:__launch_bounds__\(\w+\) )?(\w+)\((.*?)\)', _source(), re.DOTALL
    )
    parameters = {name: tuple(map(_type, told.split(","))) for name, told in declared}
    assert len(declared) == _source().count("__global__")
    assert parameters == {name: kernel.parameters for name, kernel in KERNELS.items()}


def _source() -> str:
    return SOURCE.read_text("utf-8")


def _type(parameter: str) -> type[np.generic]:
    return ADDRESS if "*" in parameter else C_TYPES[parameter.rsplit(maxsplit=1)[0].strip()]


def test_arguments_are_of_the_parameters_types() -> None:
    arguments = KERNELS["perturb_fixed"].arguments(2**63, 256, 0.1)
    assert [type(argument) for argument in arguments] == [ADDRESS, ADDRESS, np.float32]
    assert arguments == (2**63, 256, np.float32(0.1))
    with pytest.raises(ValueError, match="zip"):
        KERNELS["upscale"].arguments(1, 2, 3)


# ---- preprocess


def frames(layout: str, side: int, batch: int) -> np.ndarray:
    """Noise (N, H, W, 3) whose centred square has this side and, but for "square", rows that are not adjacent."""
    height, width = {"square": (side, side), "wide": (side, side + 37), "tall": (side + 21, side)}[layout]
    noise = RNG.integers(0, 256, (batch, height, width + 5, 3), np.uint8)
    return noise[:, :, :width] if layout == "tall" else noise[:, :, :width].copy()


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("layout", ["square", "wide", "tall"])
@pytest.mark.parametrize("side", [64, 65, 255, 256, 257, 333, 480, 1080])
def test_preprocess(host_kernels: Any, side: int, layout: str, batch: int, precision: str) -> None:
    pictures = frames(layout, side, batch)
    image = _preprocessed(host_kernels, pictures, precision)
    expected = np.concatenate([ops.preprocess(picture) for picture in pictures])
    if side == 256:
        assert_same_bits(image, expected.astype(TYPES[precision]))
    elif precision == "float":
        # OpenCV adds up to 36 weighted pixels in float32, the kernel exactly.
        np.testing.assert_allclose(image, expected, rtol=0, atol=1e-6)
    else:
        # Where the two float32 values lie on two sides of a rounding boundary they are one FP16 ulp apart.
        ulps = bits(image).astype(int) - bits(expected.astype(np.float16))
        assert np.abs(ulps).max() <= 1


def _preprocessed(host: Any, pictures: np.ndarray, precision: str) -> np.ndarray:
    square = ops.centre_square(pictures[0])
    strides = pictures.strides[0], square.strides[0]
    shape, address = (len(pictures), 3, 256, 256), square.ctypes.data
    return launched(host, f"preprocess_{precision}", shape, TYPES[precision], address, *strides, len(square), ...)


@pytest.mark.parametrize("side", [64, 257, 1080])
def test_preprocess_half_is_preprocess_float_rounded_once(host_kernels: Any, side: int) -> None:
    pictures = frames("square", side, 1)
    exact = _preprocessed(host_kernels, pictures, "float")
    assert_same_bits(_preprocessed(host_kernels, pictures, "half"), exact.astype(np.float16))


@pytest.mark.parametrize("side", [64, 333, 4320])
def test_preprocess_keeps_black_and_white(host_kernels: Any, side: int) -> None:
    """No weight is lost, and at 4320 pixels no sum overflows."""
    for value in (0, 255):
        image = _preprocessed(host_kernels, np.full((1, side, side, 3), value, np.uint8), "float")
        assert (image == value / 255).all()


def test_preprocess_of_an_upside_down_frame(host_kernels: Any) -> None:
    pictures = frames("wide", 300, 3)[:, ::-1]
    expected = np.concatenate([ops.preprocess(picture) for picture in pictures])
    # As in test_preprocess.
    np.testing.assert_allclose(_preprocessed(host_kernels, pictures, "float"), expected, rtol=0, atol=1e-6)


# ---- D


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("precision", TYPES)
def test_downscale(host_kernels: Any, precision: str, batch: int) -> None:
    dtype = TYPES[precision]
    images = RNG.random((batch, 3, 256, 256), np.float32).astype(dtype)
    images[:, 1] *= dtype(1e-4)  # FP16 denormals, where the rounding is another
    small = launched(host_kernels, f"downscale_{precision}", (batch, 3, 64, 64), dtype, images, ...)
    assert_same_bits(small, ops.downscale(images.astype(np.float32)).astype(dtype))


def test_downscale_half_knows_every_half(host_kernels: Any) -> None:
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = np.resize(values[np.isfinite(values)], (6, 3, 64, 64))
    images = finite.repeat(4, 2).repeat(4, 3)
    small = launched(host_kernels, "downscale_half", finite.shape, np.float16, images, ...)
    np.testing.assert_array_equal(small, finite)


# ---- P_test


def masks() -> dict[str, np.ndarray]:
    """(3, 1, 64, 64) each: what a selection could stumble over."""
    random = RNG.random((3, 1, 64, 64), np.float32)
    tiny = np.finfo(np.float32).smallest_subnormal
    halves = np.zeros(4096, np.float32)
    halves[2048:] = 1
    most, fewest = halves.copy(), halves.copy()
    most[2047], fewest[2048] = 1, 0
    split = np.stack([halves, most, fewest]).reshape(3, 1, 64, 64)
    shuffled = RNG.permuted(split.reshape(3, -1), axis=1).reshape(3, 1, 64, 64)
    return {
        "random": random,
        "tied": np.floor(random * 4) / 4,
        "mostly zero": np.where(random < 0.6, 0, random),
        "saturated": (1 / (1 + np.exp(-60 * (random - 0.5)))).astype(np.float32),
        "ascending": np.linspace(0, 1, 3 * 4096, dtype=np.float32).reshape(3, 1, 64, 64),
        "descending": np.linspace(1, 0, 3 * 4096, dtype=np.float32).reshape(3, 1, 64, 64),
        "zero": np.zeros((3, 1, 64, 64), np.float32),
        "one": np.ones((3, 1, 64, 64), np.float32),
        "constant": np.full((3, 1, 64, 64), 0.3, np.float32),
        "about half at 0 and 1": split,
        "the same, shuffled": shuffled,
        "denormal": np.round(random * 4096).astype(np.float32) * tiny,
        "neighbouring floats": (bits(np.full_like(random, 0.5)) + (random * 8).astype(np.uint32)).view(np.float32),
        "negative, too": (random - 0.5).astype(np.float32) * np.float32(1e30),
        "zeros of both signs": np.where(random < 0.3, -1, np.copysign(0, random - 0.6)).astype(np.float32),
    }


@pytest.mark.parametrize("kind", masks())
@pytest.mark.parametrize("batch", BATCHES)
def test_perturb_median(host_kernels: Any, batch: int, kind: str) -> None:
    mask = masks()[kind][:batch]
    perturbed = launched(host_kernels, "perturb_median", mask.shape, np.float32, mask, ...)
    assert_same_bits(perturbed, ops.perturb(mask, MEDIAN))


@pytest.mark.parametrize("kind", masks())
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 100 / 255, 1.0])
def test_perturb_fixed(host_kernels: Any, threshold: float, kind: str) -> None:
    mask = masks()[kind]
    near = np.float32(threshold)
    mask[:, 0, 5, :3] = np.nextafter(near, np.float32(-1)), near, np.nextafter(near, np.float32(2))
    perturbed = launched(host_kernels, "perturb_fixed", mask.shape, np.float32, mask, ..., threshold)
    assert_same_bits(perturbed, ops.perturb(mask, Perturbation(kind="fixed", threshold=threshold)))


@pytest.mark.parametrize("batch", BATCHES)
def test_shrink(host_kernels: Any, batch: int) -> None:
    mask = masks()["random"][:batch]
    mask[:, 0, :2, :3] = 1.0, 254 / 255, np.nextafter(np.float32(1), np.float32(0))
    shrunk = launched(host_kernels, "shrink", mask.shape, np.float32, mask, ...)
    assert_same_bits(shrunk, ops.shrink(mask))


@pytest.mark.parametrize("name", ["perturb_median", "perturb_fixed"])
def test_perturb_may_run_in_place(host_kernels: Any, name: str) -> None:
    mask = masks()["random"]
    apart, kernel, threshold = np.empty_like(mask), KERNELS[name], [0.4][: name == "perturb_fixed"]
    for output in (apart, mask):
        host_kernels.launch(name, kernel.grid(3), kernel.block, mask, output, *threshold)
    assert_same_bits(mask, apart)


# ---- Barriers: the emulation has to notice when one is missing


@pytest.mark.parametrize("order", SHUFFLES)
def test_perturb_median_in_any_order_of_threads(host_kernels: Any, order: int) -> None:
    mask = masks()["random"]
    perturbed = launched(host_kernels, "perturb_median", mask.shape, np.float32, mask, ..., order=order)
    assert_same_bits(perturbed, ops.perturb(mask, MEDIAN))


def test_every_barrier_is_needed_and_a_missing_one_shows(host_kernels: Any) -> None:
    lines = [number for number, line in enumerate(_source().splitlines(), 1) if "__syncthreads()" in line]
    assert lines
    for line in lines:
        assert not all(_right_without(host_kernels, line, order) for order in SHUFFLES), line


def _right_without(host: Any, line: int, order: int) -> bool:
    mask, kernel = masks()["random"], KERNELS["perturb_median"]
    perturbed = np.empty_like(mask)
    host.launch("perturb_median", kernel.grid(3), kernel.block, mask, perturbed, order=order, skipped=line)
    return bool((perturbed == ops.perturb(mask, MEDIAN)).all())


def test_threads_that_miss_a_barrier_are_an_error(host_kernels: Any, tmp_path: Path) -> None:
    source = tmp_path / "diverging.cu"
    body = "__shared__ int seen; seen = 1; if (threadIdx.x != 5) __syncthreads(); *out = seen;"
    source.write_text(f'extern "C" __global__ void diverging(int* out) {{ {body} }}\n', "utf-8")
    kernel = Kernel("diverging", (ADDRESS,), (64, 1, 1), (1, 1))
    host, out = type(host_kernels)(tmp_path, source, {"diverging": kernel}), np.zeros(1, np.int32)
    with pytest.raises(RuntimeError, match="barrier"):
        host.launch("diverging", kernel.grid(1), kernel.block, out)
    assert out[0] == 1  # the thread that went past it


def test_an_argument_of_another_type_is_refused(host_kernels: Any) -> None:
    mask, kernel = masks()["zero"], KERNELS["perturb_fixed"]
    with pytest.raises(TypeError, match="float64 for a parameter float32"):
        host_kernels.launch("perturb_fixed", kernel.grid(3), kernel.block, mask, mask, np.float64(0.5))


# ---- U


@pytest.mark.parametrize("kind", masks())
@pytest.mark.parametrize("batch", BATCHES)
def test_upscale(host_kernels: Any, batch: int, kind: str) -> None:
    mask = masks()[kind][:batch]
    up = launched(host_kernels, "upscale", (batch, 1, 256, 256), np.float32, mask, ...)
    # Equal, not of the same bits: a sum of zeros of both signs has the sign of either.
    np.testing.assert_array_equal(up, ops.upscale(mask))


# ---- postprocess


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("precision", TYPES)
def test_postprocess(host_kernels: Any, precision: str, batch: int) -> None:
    images = RNG.uniform(-0.2, 1.2, (batch, 3, 256, 256)).astype(TYPES[precision])
    # Halfway between two bytes, as exactly as the type can say.
    images[:, :, 7, :255] = ((np.arange(255) + 0.5) / 255).astype(images.dtype)
    images[:, 2, 9, :6] = 0, -0.0, 1, np.inf, -np.inf, 0.5
    picture = launched(host_kernels, f"postprocess_{precision}", (batch, 256, 256, 3), np.uint8, images, ...)
    expected = [ops.postprocess(image.astype(np.float32)) for image in images]
    np.testing.assert_array_equal(picture, np.stack(expected))


def test_a_frame_comes_back(host_kernels: Any) -> None:
    pictures = frames("square", 256, 3)
    for precision in TYPES:
        image = _preprocessed(host_kernels, pictures, precision)
        again = launched(host_kernels, f"postprocess_{precision}", pictures.shape, np.uint8, image, ...)
        np.testing.assert_array_equal(again, pictures)
