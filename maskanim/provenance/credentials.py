"""The key with which this installation signs, and its certificates; made at first use.

C2PA wants an end-entity certificate that another one signed. So a root is made first, it signs the key's certificate,
and its own key is forgotten at once: nobody can issue a second certificate under it.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from maskanim.atomic import sibling_folder
from maskanim.errors import MaskanimError, needs_extra
from maskanim.models import HOME_VARIABLE, home

EXTRA = "provenance"
KEY, CHAIN = "key.pem", "chain.pem"
ORGANIZATION = "maskanim, key of one installation"  # what viewers show as the signer
# RFC 5280, section 4.1.2.5: no defined end. Without a time-stamping authority a signature lives as long as this.
NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
# A container's clock, or that of a board without a battery, may begin here; the certificate is to hold then, too.
BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Credentials(NamedTuple):
    """What signs."""

    key: bytes  # the private key, PEM (PKCS 8, ECDSA on P-256)
    chain: bytes  # the certificates, PEM, from the key's own to the root
    folder: Path  # where they are kept

    @property
    def root(self) -> str:
        """The root's certificate, PEM: whoever trusts it trusts this installation."""
        begin = b"-----BEGIN"
        return (begin + self.chain.rpartition(begin)[2]).decode("ascii", "replace")


def folder() -> Path:
    """Where the key is kept; removing the folder makes the next use begin with a new one."""
    return home() / "provenance"


def find_credentials() -> Credentials | None:
    """The credentials that are there already."""
    place = folder()
    try:
        return Credentials((place / KEY).read_bytes(), (place / CHAIN).read_bytes(), place)
    except OSError:
        return None


def load_credentials() -> Credentials:
    """The credentials, made now if there are none yet.

    Raises:
        MissingPackageError: cryptography is not installed.
        MaskanimError: the folder cannot be written, one of the two files is missing or damaged, they do not fit, or
            this machine's clock is behind the certificates.
    """
    place = folder()
    try:
        return _fitting(find_credentials() or _make(place))
    except OSError as error:
        found = find_credentials()  # another process may have been first
        if found:
            return _fitting(found)
        raise unusable(place, f"none can be made ({error.strerror})") from None


def unusable(place: Path, received: str) -> MaskanimError:
    """The error for a key that does not sign."""
    there, nowhere = "Remove that folder, and a new key is made", f"Set {HOME_VARIABLE} to a folder that can be written"
    next_step = f"{there if os.access(place, os.F_OK) else nowhere}; or use --no-provenance"
    return MaskanimError(f"the signing key in {place}", received, "a key and its certificates", next_step)


def _fitting(found: Credentials) -> Credentials:
    """The credentials, if the first certificate is the key's."""
    with needs_extra("the signing key", EXTRA):
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    try:
        certificates = x509.load_pem_x509_certificates(found.chain)
        fits = certificates[0].public_key() == load_pem_private_key(found.key, None).public_key()
    except (TypeError, ValueError):  # TypeError: somebody has put a key with a password there
        fits = False
    if not fits:
        raise unusable(found.folder, "damaged, or not the one that its certificates are for")
    begin, now = max(certificate.not_valid_before_utc for certificate in certificates), datetime.now(timezone.utc)
    if now < begin:
        received = f"{now:%Y-%m-%d %H:%M}, when the signing key in {found.folder} did not exist"
        raise MaskanimError("the clock", received, f"{begin:%Y-%m-%d %H:%M} or later", "Set it; or use --no-provenance")
    return found


def _make(place: Path) -> Credentials:
    place.parent.mkdir(parents=True, exist_ok=True)
    made = Credentials(*_generate(), place)
    with sibling_folder(place) as partial:
        # Never readable by others, not even for a moment.
        (partial / KEY).touch(0o600)
        (partial / KEY).write_bytes(made.key)
        (partial / CHAIN).write_bytes(made.chain)
        partial.rename(place)
    return made


def _generate() -> tuple[bytes, bytes]:
    """A new key, and the chain of its certificate and the root's."""
    with needs_extra("the signing key", EXTRA):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    # The one purpose of RFC 5280 that c2pa's reader takes without being told to.
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id)
    root = _certificate("issuer", root_key.public_key(), signs_certificates=True).sign(root_key, hashes.SHA256())
    own = _certificate("signer", key.public_key(), signs_certificates=False)
    own = own.add_extension(issuer, critical=False).add_extension(purpose, critical=False)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret, own.sign(root_key, hashes.SHA256()).public_bytes(pem) + root.public_bytes(pem)


def _certificate(name: str, public_key: Any, *, signs_certificates: bool) -> Any:
    """A certificate of the root's issue, without what tells the two apart."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def named(common: str) -> Any:
        parts = ((NameOID.ORGANIZATION_NAME, ORGANIZATION), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])

    usage = x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("issuer"))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGINNING)
        .not_valid_after(NO_END)
        .add_extension(x509.BasicConstraints(signs_certificates, 0 if signs_certificates else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
