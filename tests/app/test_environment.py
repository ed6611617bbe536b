"""Variables that other programs on the machine need, and that the page has no use for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from maskanim.app.limits import Limits
from maskanim.app.server import page
from maskanim.app.worker import ModelWorker
import os
before = dict(os.environ)
with ModelWorker() as worker, page("127.0.0.1", worker, Limits()):
    pass
assert dict(os.environ) == before
"""


@pytest.mark.parametrize(
    "variables",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"https_proxy": "socks4://127.0.0.1:9", "HTTP_PROXY": "no url"},
        {"no_proxy": "localhost,[::1]", "http_proxy": "http://127.0.0.1:9"},
        {"SSL_CERT_FILE": "/no/such/file.pem"},
        {"SSL_CERT_DIR": "/no/such/folder"},
        {"SSLKEYLOGFILE": "/no/such/folder/keys"},
    ],
    ids=lambda variables: " ".join(variables),
)
def test_the_page_begins_whatever_the_proxy(variables: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    environment = os.environ | variables | {"MASKANIM_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
