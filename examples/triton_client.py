"""A picture and a clip to a video, animated by a Triton server to which maskanim-export has given the model.

    pip install 'maskanim[triton,provenance]'
    python triton_client.py --source a.jpg --driving b.mp4 -o out.mp4 --url localhost:8001 --protocol grpc

The frames are those that maskanim-run makes with the same engine. Each clip is one sequence of the server: its first
request carries the picture, and its last one frees it.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from maskanim.errors import EXIT_CODE, MaskanimError, needs_extra
from maskanim.ops import Frame
from maskanim.provenance import Claim, claim_by_default, signed
from maskanim.video import ClipWriter, check_output, open_clip, read_picture

PORTS = {"http": 8000, "grpc": 8001}
LOST = "must specify the START flag"  # how Triton answers to a sequence that it does not know


class SequenceLostError(MaskanimError):
    """The server gave a sequence up, because nothing came from its client for a while."""


class Connection:
    """A model on a Triton server; a context manager.

    Args:
        protocol: ``http`` or ``grpc``.
        url: host and port.
        model: its name there.

    Raises:
        MissingPackageError: tritonclient is not installed.
        MaskanimError: the server does not answer, or does not have the model.
    """

    def __init__(self, protocol: str, url: str, model: str = "maskanim") -> None:
        with needs_extra("the Triton client", "triton"):
            self.tritonclient = import_module(f"tritonclient.{protocol}")
        self.url, self.model = url, model
        self.client: Any = self.tritonclient.InferenceServerClient(url)
        try:
            ready = self.client.is_model_ready(model)
        except (OSError, self.tritonclient.InferenceServerException) as error:
            raise MaskanimError(f"the server at {url}", str(error), "a Triton server", "Check --url") from None
        if not ready:
            raise MaskanimError(f"the server at {url}", f"no model {model}", "one that is ready", "Check its log")

    def animate(self, source: Frame, driving: Iterable[Frame], together: int = 1) -> Iterator[Frame]:
        """Animate a picture by driving frames; on the server they are one sequence.

        Where a pause was too long for the server, the sequence is begun anew: a frame needs the source, and no other.

        Args:
            source: (H, W, 3) uint8 RGB, both sides at least 64.
            driving: frames of that kind; those sent together are of one size.
            together: how many go into one request. One is best for latency, more for throughput.

        Yields:
            (256, 256, 3) uint8 RGB for each driving frame.

        Raises:
            MaskanimError: what the server refused.
        """
        sequence = secrets.randbits(63) + 1  # zero means none
        remaining = iter(driving)
        frames, first = list(islice(remaining, together)), True
        while frames:
            following = list(islice(remaining, together))
            about = {"sequence_id": sequence, "sequence_end": not following}
            inputs = {"driving": np.stack(frames)}
            begins = inputs | {"source": source}
            try:
                shown = self._infer(begins if first else inputs, **about, sequence_start=first)
            except SequenceLostError:
                shown = self._infer(begins, **about, sequence_start=True)
            yield from shown
            frames, first = following, False

    def claim(self, *, composite: bool) -> Claim:
        """What to say of the videos that the model makes; see `maskanim.provenance.Claim`."""
        kwargs = {"as_json": True} if self.tritonclient.__name__.endswith("grpc") else {}
        config = self.client.get_model_config(self.model, **kwargs)
        parameters = config.get("config", config)["parameters"]
        name, digest = (parameters[key]["string_value"] for key in ("model", "model_sha256"))
        return Claim(name, digest, composite)

    def _infer(self, inputs: dict[str, Any], **sequence: Any) -> Any:
        tensors = []
        for name, array in inputs.items():
            batch = np.ascontiguousarray(array[None])  # sequences are batched by the server, one of each at a time
            tensors.append(self.tritonclient.InferInput(name, batch.shape, "UINT8"))
            tensors[-1].set_data_from_numpy(batch)
        try:
            return self.client.infer(self.model, tensors, **sequence).as_numpy("frames")[0]
        except (OSError, self.tritonclient.InferenceServerException) as error:
            kind = SequenceLostError if LOST in str(error) else MaskanimError
            raise kind(f"the server at {self.url}", str(error), "animated frames") from None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()


def animate_clip(connection: Connection, source: Path, driving: Path, output: Path, together: int) -> int:
    """Animate a picture file by a clip file into a video with the clip's times and audio; returns its frames."""
    picture = read_picture(source)
    check_output(output, [source, driving])
    times: list[int] = []
    with ExitStack() as opened:
        clip = opened.enter_context(open_clip(driving))
        claim = claim_by_default(connection.claim(composite=clip.audio is not None), output, None, print)
        place = opened.enter_context(signed(output, claim))
        writer = opened.enter_context(ClipWriter(place, clip))

        def frames() -> Iterator[Frame]:
            for frame, pts in clip:
                times.append(pts)
                yield frame

        for done, frame in enumerate(connection.animate(picture, frames(), together)):
            writer.write(frame, times[done])
    return len(times)


def main() -> None:
    """Parse the arguments and animate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="the picture to animate")
    parser.add_argument("--driving", type=Path, required=True, help="the clip that drives it")
    parser.add_argument("--output", "-o", type=Path, required=True, help="the mp4 to write")
    parser.add_argument("--protocol", choices=PORTS, default="grpc")
    parser.add_argument("--url", help="host:port (default: localhost and Triton's port)")
    parser.add_argument("--model", default="maskanim", help="its name on the server")
    parser.add_argument("--together", type=int, default=4, help="frames in one request")
    given = parser.parse_args()
    if given.together < 1:
        parser.error("--together: expected 1 or more")
    url = given.url or f"localhost:{PORTS[given.protocol]}"
    try:
        with Connection(given.protocol, url, given.model) as connection:
            done = animate_clip(connection, given.source, given.driving, given.output, given.together)
    except MaskanimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    print(f"{given.output}: {done} frames")


if __name__ == "__main__":
    main()
