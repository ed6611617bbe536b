"""The page, served by the real command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest

from maskanim.models import DEMO
from maskanim.ops import Frame

CODE = "from maskanim.app import cli; cli.main()"


@dataclass(frozen=True)
class Served:
    """A page that runs: its port, and the folder in which its uploads are."""

    port: int
    temporary: Path
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        (folder,) = self.temporary.glob("maskanim-app-*")
        return folder


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with low limits: 2 MB, 0.5 million pixels, 3 s."""
    pytest.importorskip("gradio", reason="the page needs the extra app")
    # Not below pytest's own folder, so that what the page may serve is the upload folder alone.
    with TemporaryDirectory() as temporary:
        home = tmp_path_factory.mktemp("home")
        environment = os.environ | {"TMPDIR": temporary, "MASKANIM_HOME": str(home), "OMP_NUM_THREADS": "1"}
        limits = ["--max-megabytes=2", "--max-megapixels=0.5", "--max-seconds=3", "--max-waiting=2"]
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, "--port=0", *limits],
            env=environment,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout and process.stderr
            line = process.stdout.readline()
            assert line.startswith("maskanim-app: http://127.0.0.1:"), process.stderr.read()
            yield Served(int(line.split(":")[3].split("/")[0]), Path(temporary), process)
        finally:
            process.terminate()
            process.communicate(timeout=20)
        assert process.returncode == 0 and not list(Path(temporary).glob("maskanim-app-*")), "uploads were left"


@pytest.fixture(scope="session")
def demo_picture() -> Path:
    return DEMO / "source.png"


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Write a clip of noise at 10 frames a second."""

    def make(path: Path, frames: int, width: int = 96, height: int = 96) -> Path:
        image: Frame = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        with av.open(os.fspath(path), "w") as output:
            video = output.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            for _ in range(frames):
                output.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            output.mux(video.encode(None))
        return path

    return make
