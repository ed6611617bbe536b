"""A connection to Ray that stays on this machine unless a cluster is named, prints nothing and leaves nothing."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from maskanim.errors import MaskanimError, needs_extra
from maskanim.runtime.sessions.session import processors

LOCAL = "local"
OBJECT_STORE = 80 << 20  # bytes; only paths and figures pass through it
SECONDS_TO_CONNECT = 10.0
# Read when ray is imported: nothing is reported to its makers, no advice is printed, and a Ray of our own listens on
# this machine's loopback alone, as on Windows and macOS: who reaches its ports can run programs.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LOOPBACK_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module ray, connected to a cluster, or to one of its own for as long as this lasts.

    Raises:
        MaskanimError: ray is not installed, or there is no such cluster.
    """
    local = address == LOCAL
    os.environ.update(ENVIRONMENT | (LOOPBACK_ALONE if local else {}))
    with needs_extra("--ray", "cluster"):
        import ray
    if not local:
        _check_reachable(address)
    ray._private.worker._worker_logs_enabled = False  # else it prints, on standard output, what dies
    started: AbstractContextManager[object] = nullcontext()
    given: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    with ExitStack() as opened:
        if local:
            # Ray's own folder would stay for ever. The paths of its sockets have to be short.
            folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp" if os.name == "posix" else None)
            opened.callback(shutil.rmtree, folder, ignore_errors=True)
            given |= {"num_cpus": processors(), "object_store_memory": OBJECT_STORE, "_temp_dir": folder}
            given["include_dashboard"] = False
            started = _home(folder)
        with _ray_errors(address, ConnectionError, ValueError, RuntimeError), _deaf_to_hangups(), started:
            ray.init(**given)
        opened.callback(ray.shutdown)
        with _ray_errors(address, ray.exceptions.RayError):
            yield ray


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address:
        expected = "the head's host and port, as 10.0.0.1:6379, given on a machine of the cluster"
        raise MaskanimError(f"--ray {address}", "an address of another kind", expected)
    with _ray_errors(address, OSError):
        if port.isdecimal():
            socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()


@contextmanager
def _ray_errors(address: str, *kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise MaskanimError(f"--ray {address}", told, "a Ray cluster that runs and can be reached") from error


@contextmanager
def _home(folder: str) -> Iterator[None]:
    """What is started meanwhile finds this home.

    Ray would leave a token in the user's, and, where it finds no description of a cluster, look up by their host names
    in which cloud it is, though it reports nothing.
    """
    before = os.environ.get("HOME")
    Path(folder, "ray_bootstrap_config.yaml").write_text("{}", "utf-8")
    os.environ["HOME"] = folder
    try:
        yield
    finally:
        os.environ.pop("HOME")
        os.environ.update({"HOME": before} if before else {})


@contextmanager
def _deaf_to_hangups() -> Iterator[None]:
    """Processes that are started meanwhile do not end with the terminal: this one decides what that means."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
