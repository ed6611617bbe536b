"""A bundle of random networks of any widths: speed does not depend on what they have learnt."""

from __future__ import annotations

from pathlib import Path

from maskanim.bundle import Bundle, Manifest, network_file, write_bundle
from maskanim.spec import NETWORKS, ModelSpec


def random_bundle(path: Path, spec: ModelSpec) -> Bundle:
    """Export random networks, lowered, without comparing them with anything.

    Args:
        path: the folder to write.
    """
    from maskanim.benchmarks.torch_networks import random_networks
    from maskanim.export.lowering import lower
    from maskanim.export.onnx_export import OPSET, to_onnx

    networks = random_networks(spec)
    lowered = {name: lower(getattr(networks, name), name) for name in NETWORKS}
    contents = {name: to_onnx(lowered[name].network, NETWORKS[name]).SerializeToString() for name in NETWORKS}
    files = {name: network_file(name, content, lowered[name].rewrites) for name, content in contents.items()}
    manifest = Manifest(name=f"random {spec.size_name}", model=spec, opset=OPSET, networks=files)
    return write_bundle(path, manifest, contents)
