"""The repository in a real Triton server, asked over HTTP and gRPC by Triton's own client."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest

from maskanim.errors import MaskanimError
from maskanim.models import DEMO, demo_bundle
from maskanim.ops import Frame
from maskanim.runtime import Animator
from maskanim.video import open_clip, read_picture

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/triton_client.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The client that users are shown."""
    spec = importlib.util.spec_from_file_location("triton_client", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def http(server: Any, example: ModuleType) -> Iterator[Any]:
    with example.Connection("http", server.http) as connection:
        yield connection


@pytest.fixture
def grpc(server: Any, example: ModuleType) -> Iterator[Any]:
    with example.Connection("grpc", server.grpc) as connection:
        yield connection


@pytest.fixture(scope="module")
def source() -> Frame:
    return read_picture(DEMO / "source.png")


@pytest.fixture(scope="module")
def driving() -> list[Frame]:
    with open_clip(DEMO / "driving.mp4") as clip:
        return [frame for frame, _ in zip((frame for frame, _ in clip), range(6), strict=False)]


@pytest.fixture(scope="module")
def animated(server: Any, source: Frame, driving: list[Frame]) -> dict[str, list[Frame]]:
    """What maskanim-run makes of two sources and the frames, forwards and backwards."""
    with Animator.open(demo_bundle(), server.serving.engine) as animator:
        return {
            "forwards": list(animator.stream(animator.encode_source(source), driving)),
            "backwards": list(animator.stream(animator.encode_source(driving[0]), driving[::-1])),
        }


def equal(one: list[Frame], other: list[Frame]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("turn", [1, -1])
def test_two_interleaved_sequences_equal_maskanim_run(
    http: Any, grpc: Any, source: Frame, driving: list[Frame], animated: dict[str, list[Frame]], turn: int
) -> None:
    first, second = (http, grpc)[::turn]
    forwards, backwards = first.animate(source, driving), second.animate(driving[0], driving[::-1])
    pairs = list(zip_longest(forwards, backwards))
    assert equal([pair[0] for pair in pairs], animated["forwards"])
    assert equal([pair[1] for pair in pairs], animated["backwards"])


def test_sequences_may_be_named_by_strings(
    http: Any, grpc: Any, source: Frame, driving: list[Frame], animated: dict[str, list[Frame]]
) -> None:
    """Though their numbers, as Triton gives them to a model that wants numbers, would be the same."""
    for connection, name, picture in ((http, "one", source), (grpc, "two", driving[0])):
        inputs = {"source": picture, "driving": driving[-1][None]}
        connection._infer(inputs, sequence_id=name, sequence_start=True, sequence_end=False)
    for connection, name, wanted in (
        (http, "one", animated["forwards"][-1]),
        (grpc, "two", animated["backwards"][0]),
    ):
        inputs = {"driving": driving[-1][None]}
        (frame,) = connection._infer(inputs, sequence_id=name, sequence_start=False, sequence_end=True)
        np.testing.assert_array_equal(frame, wanted)


@pytest.mark.parametrize("together", [4, 100])
def test_several_frames_in_a_request(
    http: Any, source: Frame, driving: list[Frame], animated: dict[str, list[Frame]], together: int
) -> None:
    assert equal(list(http.animate(source, driving, together)), animated["forwards"])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_is_refused_leaves_the_server_up(
    request: pytest.FixtureRequest,
    protocol: str,
    source: Frame,
    driving: list[Frame],
    animated: dict[str, list[Frame]],
) -> None:
    connection = request.getfixturevalue(protocol)
    under_way = connection.animate(source, driving)
    frames = [next(under_way)]
    grey = np.zeros((1, 64, 64, 1), np.uint8)
    small = np.zeros((1, 8, 8, 3), np.uint8)
    for inputs, told in (
        ({"source": source, "driving": grey}, "unexpected shape for input 'driving'"),
        ({"source": source[0], "driving": driving[0][None]}, "unexpected shape for input 'source'"),
        ({"source": source, "driving": driving[0].astype(np.float32)[None]}, "UINT8"),
        ({"source": source, "driving": small}, "8x8 pixels; expected at least 64x64"),
        ({"driving": driving[0][None]}, "expected a source picture with the sequence's first request"),
        ({"source": source}, "no driving frames"),
    ):
        with pytest.raises(Exception, match=told):
            connection._infer(inputs, sequence_id=99, sequence_start=True, sequence_end=True)
    with pytest.raises(MaskanimError, match="must specify the START flag"):
        connection._infer({"driving": driving[0][None]}, sequence_id=98, sequence_start=False, sequence_end=False)
    assert equal(frames + list(under_way), animated["forwards"])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_client_that_pauses_goes_on(
    request: pytest.FixtureRequest,
    server: Any,
    protocol: str,
    source: Frame,
    driving: list[Frame],
    animated: dict[str, list[Frame]],
) -> None:
    """For longer than the server keeps a sequence."""

    def slowly() -> Iterator[Frame]:
        for i, frame in enumerate(driving):
            if i == 2:  # one frame is read ahead
                time.sleep(2 * server.serving.idle_seconds)
            yield frame

    connection = request.getfixturevalue(protocol)
    assert equal(list(connection.animate(source, slowly())), animated["forwards"])


ABANDON = """
import importlib.util, itertools, sys, numpy as np
spec = importlib.util.spec_from_file_location("triton_client", sys.argv[1])
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
frame = np.zeros((256, 256, 3), np.uint8)
connection = example.Connection("grpc", sys.argv[2])
both = [connection.animate(frame, itertools.repeat(frame)) for _ in range(int(sys.argv[3]))]
for sequence in both:
    next(sequence)
print("under way", flush=True)
sys.stdin.read()
"""


def test_a_killed_client_leaves_nothing(
    server: Any, http: Any, source: Frame, driving: list[Frame], animated: dict[str, list[Frame]]
) -> None:
    """It holds all sequences that the server animates at a time, so that others wait until these are taken from it."""
    command = [sys.executable, "-c", ABANDON, str(EXAMPLE), server.grpc, str(server.serving.sequences)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout and client.stdout.readline() == "under way\n"
        client.kill()
    before, killed = server.log.read_text("utf-8").count("was abandoned"), time.monotonic()
    assert equal(list(http.animate(source, driving)), animated["forwards"])
    waited = time.monotonic() - killed
    assert waited > server.serving.idle_seconds / 2  # else it had not been waiting for them
    until = time.monotonic() + 10 * server.serving.idle_seconds
    while server.log.read_text("utf-8").count("was abandoned; its source is freed") < before + server.serving.sequences:
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_example_writes_a_video(
    server: Any,
    example: ModuleType,
    protocol: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "home"))
    output = tmp_path / "out.mp4"
    clip = DEMO / "driving.mp4"
    arguments = ["--source", DEMO / "source.png", "--driving", clip, "-o", output, "--protocol", protocol]
    arguments += ["--url", getattr(server, protocol), "--together", 4]
    monkeypatch.setattr(sys, "argv", ["triton_client.py", *map(str, arguments)])
    example.main()
    with av.open(str(output)) as written, av.open(str(clip)) as given:
        times = [frame.time for frame in given.decode(video=0)]
        assert [frame.time for frame in written.decode(video=0)] == times
    assert f"{output}: {len(times)} frames" in capsys.readouterr().out
    if importlib.util.find_spec("c2pa"):
        from maskanim.provenance import Claim, read_provenance

        claim = Claim.of(demo_bundle())
        assert read_provenance(output)[-3:-1] == (claim.model, claim.model_sha256)


@pytest.mark.parametrize(("model", "told"), [("other", "no model other"), (None, "expected a Triton server")])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_example_tells_in_one_line_why_it_cannot(
    server: Any, example: ModuleType, protocol: str, model: str | None, told: str
) -> None:
    url = getattr(server, protocol) if model else "127.0.0.1:9"  # the discard port, where nobody listens
    with pytest.raises(MaskanimError, match=told):
        example.Connection(protocol, url, model or "maskanim")


def test_the_server_is_up_after_all_that(server: Any, http: Any) -> None:
    assert server.process.poll() is None
    assert http.client.is_server_ready() and http.client.is_model_ready("maskanim")
