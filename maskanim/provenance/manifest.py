"""C2PA manifests: what they say of a video, and signing and reading them, never on the network."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from maskanim import __version__
from maskanim.atomic import partial_path, replacing, sole_writer
from maskanim.bundle import MANIFEST, Bundle
from maskanim.errors import MaskanimError, needs_extra, system_error
from maskanim.provenance.credentials import EXTRA, find_credentials, load_credentials, unusable

SOFTWARE = "maskanim"
FLAG = "--provenance"
VIDEO_FORMATS = ("m4v", "mov", "mp4")  # of those that c2pa embeds manifests in; WebM and Matroska are not
ALGORITHM = b"es256"

MODEL_ASSERTION = "maskanim.model"
ACTIONS_ASSERTION = "c2pa.actions"
CREATED = "c2pa.created"
# IPTC's vocabulary, which C2PA refers to.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = SOURCE_TYPES + "trainedAlgorithmicMedia"
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"

EXPECTED = "a video with a valid C2PA manifest"
UNTRUSTED = "signingCredential.untrusted"  # the one failure that leaves a manifest valid
SETTINGS: dict[str, Any] = {
    # Memory stays flat however long the video: its data is hashed in pieces, and what is copied goes to the disk.
    "core": {
        "allowed_network_hosts": [],
        "backing_store_memory_threshold_in_mb": 16,
        "merkle_tree_chunk_size_in_kb": 1024,
        "merkle_tree_max_proofs": 0,
    },
    # A manifest elsewhere is never fetched, and no issuer is asked whether he has revoked a certificate.
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True)
class Claim:
    """What is signed; it names no person, no path and no time."""

    model: str  # the bundle's name
    model_sha256: str  # of the bundle's ``manifest.json``, which holds the hash of every network
    # whether the file also carries what no model made: the driving clip's audio, or its frames in a grid
    composite: bool = False

    @classmethod
    def of(cls, bundle: Bundle, *, composite: bool = False) -> Claim:
        """The claim for what a bundle generates."""
        digest = hashlib.sha256((bundle.path / MANIFEST).read_bytes()).hexdigest()
        return cls(bundle.manifest.name, digest, composite)

    def definition(self) -> dict[str, Any]:
        """The manifest's definition, as c2pa takes it."""
        software = {"name": SOFTWARE, "version": __version__}
        source_type = COMPOSITE if self.composite else GENERATED
        created = {"action": CREATED, "digitalSourceType": source_type, "softwareAgent": software}
        model = {"name": self.model, "sha256": self.model_sha256}
        return {
            "claim_generator_info": [software],
            "assertions": [
                {"label": ACTIONS_ASSERTION, "created": True, "data": {"actions": [created]}},
                {"label": MODEL_ASSERTION, "created": True, "data": model},
            ],
        }


class Provenance(NamedTuple):
    """A valid manifest."""

    # whether the certificate leads to an authority of C2PA's list, or to this installation's own key. Valid but not
    # trusted: the file is as it was signed, but the signer may be anyone.
    trusted: bool
    signer: str  # the organization in the certificate
    software: str  # name and version of what signed
    # the digital source type's name in IPTC's vocabulary, such as ``trainedAlgorithmicMedia``, or empty
    source_type: str
    # model, model_sha256: as in `Claim`; empty in manifests of other software
    model: str
    model_sha256: str
    manifest: dict[str, Any]  # all that c2pa's reader tells


def claim_by_default(claim: Claim, output: Path, wanted: bool | None, tell: Callable[[str], object]) -> Claim | None:
    """The claim, or None where the video shall not be signed or cannot be.

    Args:
        wanted: True or False where the user said so. None signs if the package is installed and the format can hold a
            manifest, and otherwise tells in one line that the video will not be marked.

    Raises:
        MissingPackageError, MaskanimError: the user wants a manifest, and the package is missing or the format wrong.
            Whatever he said, a key that does not sign.
    """
    if wanted is False:
        return None
    try:
        _load_c2pa(FLAG)
        _check_format(output)
    except MaskanimError as error:
        if wanted:
            raise
        tell(f"note: the video will not be marked as synthetic: {error.received}. {error.next_step}")
        return None
    check_signing(output)
    return claim


def check_signing(output: Path) -> None:
    """Refuse, before any work, what cannot be signed; raises as `sign_video`."""
    _open_signer(output).close()


def sign_video(path: Path, claim: Claim, output: Path | None = None) -> Path:
    """Write a claim into a finished video; its pictures and sound stay as they are.

    Args:
        path: the video; an m4v, mov or mp4.
        claim: what to say of it.
        output: where the signed video goes, in the same format; an older file there is replaced on success only.
            None: it replaces `path`.

    Returns:
        Where it is.

    Raises:
        MissingPackageError: c2pa is not installed.
        MaskanimError: another format, a file that cannot be read or written, or a key that does not sign; what was
            there stays. What is written has been read and verified.
    """
    output = (output or path).resolve()
    c2pa, signer = _load_c2pa(FLAG), _open_signer(output)
    try:
        with signer, replacing(output) as partial:
            with (
                c2pa.Context.from_dict(SETTINGS) as context,
                c2pa.Builder.from_json(json.dumps(claim.definition()), context) as builder,
                path.open("rb") as unsigned,
                partial.open("x+b") as written,
            ):
                builder.sign(signer, _format(output), unsigned, written)
            read_provenance(partial)
            shutil.copymode(path, partial)
    except (c2pa.C2paError, OSError, MaskanimError) as error:
        received = getattr(error, "strerror", None) or getattr(error, "received", None) or str(error)
        next_step = "Check that the video plays, and the space on its disk; or use --no-provenance"
        raise MaskanimError(f"signing {output.name}", received, "a video that can be signed", next_step) from error
    return output


@contextmanager
def signed(output: Path, claim: Claim | None, place: Path | None = None) -> Iterator[Path]:
    """Around the writing of a video: what is written at the path given appears signed at `output`, or not at all.

    No other process writes `output` meanwhile, if it does this, too.

    Args:
        claim: what to say of it. None leaves it unsigned, and the path given is `output` itself.
        place: the path given otherwise; None: one that no other process has.

    Raises:
        MissingPackageError, MaskanimError: as `sign_video`, or another process writes it; what does not depend on the
            video, before it is written.
    """
    with sole_writer(output):
        if claim is None:
            yield output
            return
        check_signing(output)
        unsigned = place or partial_path(output)
        try:
            yield unsigned
            sign_video(unsigned, claim, output)
        except MaskanimError as error:
            if unsigned.name not in error.subject:
                raise
            subject = error.subject.replace(unsigned.name, output.name)
            raise MaskanimError(subject, error.received, error.expected, error.next_step) from error
        finally:
            unsigned.unlink(missing_ok=True)


def read_provenance(path: Path) -> Provenance:
    """Read and verify a file's manifest, without the network.

    Raises:
        MissingPackageError: c2pa is not installed.
        MaskanimError: the file cannot be read, has no manifest, or was changed after it was signed.
    """
    c2pa = _load_c2pa("reading provenance")
    own = find_credentials()
    try:
        with ExitStack() as opened:
            settings = SETTINGS | ({"trust": {"user_anchors": own.root}} if own else {})
            context = opened.enter_context(c2pa.Context.from_dict(settings))
            file = opened.enter_context(path.open("rb"))
            reader = opened.enter_context(c2pa.Reader(None, file, None, context))
            state, results = reader.get_validation_state(), reader.get_validation_results() or {}
            manifest = reader.get_active_manifest()
    except OSError as error:
        raise system_error(error, str(path), EXPECTED) from None
    except c2pa.C2paError.ManifestNotFound:
        next_step = "It was never signed, or was encoded again since"
        raise MaskanimError(str(path), "no C2PA manifest in it", EXPECTED, next_step) from None
    except c2pa.C2paError as error:
        raise MaskanimError(str(path), f"no readable manifest ({error})", EXPECTED) from None
    if state == "Invalid" or not manifest:
        failures = results.get("activeManifest", {}).get("failure", [])
        reasons = [f"{one['explanation']} ({one['code']})" for one in failures if one["code"] != UNTRUSTED]
        received = "; ".join(reasons) or "an invalid manifest"
        raise MaskanimError(str(path), received, EXPECTED, "It was changed after it was signed")
    return _provenance(manifest, trusted=state == "Trusted")


def _provenance(manifest: dict[str, Any], *, trusted: bool) -> Provenance:
    # By their labels, whichever version of it they have; of several with one label, the first.
    assertions = {one["label"].split(".v")[0]: one["data"] for one in reversed(manifest.get("assertions", []))}
    software: dict[str, Any] = next(iter(manifest.get("claim_generator_info", [])), {})
    actions, model = assertions.get(ACTIONS_ASSERTION, {}).get("actions", []), assertions.get(MODEL_ASSERTION, {})
    made: dict[str, Any] = next((action for action in actions if action.get("action") == CREATED), {})
    return Provenance(
        trusted=trusted,
        signer=manifest.get("signature_info", {}).get("issuer", ""),
        software=f"{software.get('name', '')} {software.get('version', '')}".strip(),
        source_type=made.get("digitalSourceType", "").removeprefix(SOURCE_TYPES),
        model=model.get("name", ""),
        model_sha256=model.get("sha256", ""),
        manifest=manifest,
    )


def _load_c2pa(subject: str) -> Any:
    """The package c2pa, imported late; `subject` needs it."""
    with needs_extra(subject, EXTRA):
        import c2pa
        import cryptography  # noqa: F401
    return c2pa


def _open_signer(output: Path) -> Any:
    """A signer that has proved its key, for a format that can be signed; to be closed."""
    c2pa = _load_c2pa(FLAG)
    _check_format(output)
    key, chain, folder = load_credentials()
    try:
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(ALGORITHM, chain, key, None))
    except c2pa.C2paError as error:
        raise unusable(folder, str(error)) from None


def _check_format(output: Path) -> None:
    if _format(output) not in VIDEO_FORMATS:
        received = f"a {output.suffix or 'nameless format'} has no place for a C2PA manifest"
        raise MaskanimError(f"{FLAG} {output.name}", received, f"one of {', '.join(VIDEO_FORMATS)}", "Write an mp4")


def _format(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")
