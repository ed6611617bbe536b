"""Signing a finished file: the manifest goes into it, and its pictures and sound stay as they are."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskanim.errors import MaskanimError
from maskanim.provenance.c2pa_library import SETTINGS, load_c2pa
from maskanim.provenance.claim import Claim
from maskanim.provenance.credentials import load_credentials, unusable
from maskanim.provenance.reading import read_provenance

VIDEO_FORMATS = ("m4v", "mov", "mp4")  # of those that c2pa embeds manifests in; WebM and Matroska are not
ALGORITHM = b"es256"
FLAG = "--provenance"


def claim_by_default(claim: Claim, output: Path, wanted: bool | None, tell: Callable[[str], object]) -> Claim | None:
    """The claim, or None where the video shall not be signed or cannot be.

    Args:
        claim: what would be said of it.
        output: where the video goes.
        wanted: True or False where the user said so. None signs if the package is installed and the format can hold a
            manifest, and otherwise tells in one line that the video will not be marked.
        tell: called with that line.

    Raises:
        MissingPackageError, MaskanimError: the user wants a manifest, and the package is missing or the format wrong.
            Whatever he said, a key that does not sign.
    """
    if wanted is False:
        return None
    try:
        load_c2pa(FLAG)
        _require_format(output)
    except MaskanimError as error:
        if wanted:
            raise
        tell(f"note: the video will not be marked as synthetic: {error.received}. {error.next_step}")
        return None
    check_signing(output)
    return claim


def check_signing(output: Path) -> None:
    """Refuse, before any work, what cannot be signed; raises as `sign_video`."""
    _prepare(output)[1].close()


def sign_video(path: Path, claim: Claim, output: Path | None = None) -> Path:
    """Write a claim into a finished video.

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
    c2pa, signer = _prepare(output)
    partial = _beside(output)
    try:
        with (
            signer,
            c2pa.Context.from_dict(SETTINGS) as context,
            c2pa.Builder.from_json(json.dumps(claim.definition()), context) as builder,
            path.open("rb") as unsigned,
            partial.open("x+b") as written,
        ):
            builder.sign(signer, _format(output), unsigned, written)
        read_provenance(partial)
        shutil.copymode(path, partial)
        partial.replace(output)
    except (c2pa.C2paError, OSError, MaskanimError) as error:
        received = getattr(error, "strerror", None) or getattr(error, "received", None) or str(error)
        next_step = "Check that the video plays, and the space on its disk; or use --no-provenance"
        raise MaskanimError(f"signing {path.name}", received, "a video that can be signed", next_step) from error
    finally:
        partial.unlink(missing_ok=True)
    return output


@contextmanager
def signed(output: Path, claim: Claim | None) -> Iterator[Path]:
    """Around the writing of a video: what is written at the path given appears signed at `output`, or not at all.

    Args:
        output: where the signed video goes.
        claim: what to say of it. None leaves it unsigned, and the path given is `output` itself.

    Raises:
        MissingPackageError, MaskanimError: as `sign_video`; what does not depend on the video, before it is written.
    """
    if claim is None:
        yield output
        return
    check_signing(output)
    unsigned = _beside(output)
    try:
        yield unsigned
        sign_video(unsigned, claim, output)
    finally:
        unsigned.unlink(missing_ok=True)


def _prepare(output: Path) -> tuple[Any, Any]:
    """The library, and a signer that has proved its key."""
    c2pa = load_c2pa(FLAG)
    _require_format(output)
    key, chain, folder = load_credentials()
    try:
        return c2pa, c2pa.Signer.from_info(c2pa.C2paSignerInfo(ALGORITHM, chain, key, None))
    except c2pa.C2paError as error:
        raise unusable(folder, str(error)) from None


def _require_format(output: Path) -> None:
    if _format(output) not in VIDEO_FORMATS:
        received = f"a {output.suffix or 'nameless format'} has no place for a C2PA manifest"
        raise MaskanimError(f"{FLAG} {output.name}", received, f"one of {', '.join(VIDEO_FORMATS)}", "Write an mp4")


def _format(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _beside(path: Path) -> Path:
    return path.with_name(f".maskanim-{secrets.token_hex(8)}{path.suffix}")
