"""What a file says of its making, checked by c2pa's own reader."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from maskanim.errors import MaskanimError
from maskanim.provenance.c2pa_library import SETTINGS, load_c2pa
from maskanim.provenance.claim import ACTIONS_ASSERTION, MODEL_ASSERTION, SOURCE_TYPES
from maskanim.provenance.credentials import find_credentials

CREATED = "c2pa.created"
EXPECTED = "a video with a valid C2PA manifest"
UNTRUSTED = "signingCredential.untrusted"  # the one failure that leaves a manifest valid


class Provenance(NamedTuple):
    """A valid manifest.

    Attributes:
        trusted: whether the certificate leads to an authority of C2PA's list, or to this installation's own key. Valid
            but not trusted: the file is as it was signed, but the signer may be anyone.
        signer: the organization in the certificate.
        software: name and version of what signed.
        source_type: the digital source type's name in IPTC's vocabulary, such as ``trainedAlgorithmicMedia``, or empty.
        model, model_sha256: as in `Claim`; empty in manifests of other software.
        manifest: all that c2pa's reader tells.
    """

    trusted: bool
    signer: str
    software: str
    source_type: str
    model: str
    model_sha256: str
    manifest: dict[str, Any]


def read_provenance(path: Path) -> Provenance:
    """Read and verify a file's manifest, without the network.

    Raises:
        MissingPackageError: c2pa is not installed.
        MaskanimError: the file cannot be read, has no manifest, or was changed after it was signed.
    """
    c2pa = load_c2pa("reading provenance")
    try:
        with ExitStack() as opened:
            context = opened.enter_context(c2pa.Context.from_dict(_settings()))
            file = opened.enter_context(path.open("rb"))
            reader = opened.enter_context(c2pa.Reader(None, file, None, context))
            state, results = reader.get_validation_state(), reader.get_validation_results() or {}
            manifest = reader.get_active_manifest()
    except OSError as error:
        raise MaskanimError(str(path), error.strerror or "unreadable", EXPECTED, "Check the path") from None
    except c2pa.C2paError.ManifestNotFound:
        next_step = "It was never signed, or was encoded again since"
        raise MaskanimError(str(path), "no C2PA manifest in it", EXPECTED, next_step) from None
    except c2pa.C2paError as error:
        raise MaskanimError(str(path), f"no readable manifest ({error})", EXPECTED) from None
    if state == "Invalid" or not manifest:
        raise MaskanimError(str(path), _told(results), EXPECTED, "It was changed after it was signed")
    return _provenance(manifest, trusted=state == "Trusted")


def _settings() -> dict[str, Any]:
    own = find_credentials()
    return SETTINGS | ({"trust": {"user_anchors": own.root}} if own else {})


def _told(results: dict[str, Any]) -> str:
    """The reader's own words for what is wrong."""
    failures = results.get("activeManifest", {}).get("failure", [])
    told = [f"{one['explanation']} ({one['code']})" for one in failures if one["code"] != UNTRUSTED]
    return "; ".join(told) or "an invalid manifest"


def _provenance(manifest: dict[str, Any], *, trusted: bool) -> Provenance:
    software: dict[str, Any] = next(iter(manifest.get("claim_generator_info", [])), {})
    actions = _assertion(manifest, ACTIONS_ASSERTION).get("actions", [])
    made: dict[str, Any] = next((action for action in actions if action.get("action") == CREATED), {})
    model = _assertion(manifest, MODEL_ASSERTION)
    return Provenance(
        trusted=trusted,
        signer=manifest.get("signature_info", {}).get("issuer", ""),
        software=f"{software.get('name', '')} {software.get('version', '')}".strip(),
        source_type=made.get("digitalSourceType", "").removeprefix(SOURCE_TYPES),
        model=model.get("name", ""),
        model_sha256=model.get("sha256", ""),
        manifest=manifest,
    )


def _assertion(manifest: dict[str, Any], label: str) -> dict[str, Any]:
    """The data of an assertion, whichever version of its label it has."""
    found = (one["data"] for one in manifest.get("assertions", []) if one["label"].split(".v")[0] == label)
    return next(found, {})
