"""How a motion file is laid out: a magic, a version, and blocks in a chain of hashes.

A block is its length (4 bytes, little-endian), a letter that says what it is, its content, and a SHA-256 over all of
that and the hash before it; the first follows on that of magic and version. So each hash vouches for the file up to
there, and the last one for the whole. The blocks are one header (H), frames (F), and one end (E), without which a file
is not whole.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

from pydantic import Field, ValidationError

from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.runtime.motion.coding import Precision
from maskanim.spec import Perturbation, Record

SUFFIX = ".mmot"
MAGIC = b"MMOT\r\n\x1a\n"  # a transfer as text, which changes line ends, shows in it
VERSION = 1
PREFIX = struct.Struct("<8sH")
LENGTH = struct.Struct("<I")
COUNT = struct.Struct("<H")  # of frames, before the content of a block of frames
HEADER, FRAMES, END = b"H", b"F", b"E"
HASH_SIZE = hashlib.sha256().digest_size

FRAMES_PER_BLOCK = 64
MAX_BLOCK = 2 * FRAMES_PER_BLOCK * 64 * 64 * 4  # more than any block has: a damaged length takes no memory

AGAIN = "Copy it again from where it is whole, or make it anew with --save-motion"
EXPECTED = "a motion file, as --save-motion writes it"


class MotionModel(Record):
    """Whose masks a motion file holds: r understands those of the m that it was trained with, and no other's.

    Attributes:
        name: the model's, for messages; two models may have one name.
        m_sha256: of m's file.
        perturbation: P_test.
    """

    name: str
    m_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    perturbation: Perturbation

    @classmethod
    def of(cls, bundle: Bundle) -> MotionModel:
        """A bundle's."""
        manifest = bundle.manifest
        return cls(name=manifest.name, m_sha256=manifest.networks["m"].sha256, perturbation=manifest.model.perturbation)

    def same_masks(self, other: MotionModel) -> bool:
        """Whether both make the same masks."""
        return (self.m_sha256, self.perturbation) == (other.m_sha256, other.perturbation)


class Header(Record):
    """What a motion file says of itself.

    Attributes:
        model: whose masks they are.
        precision: see `coding`.
        time_base: seconds per tick, as a fraction.
        rate: frames per second, as a fraction; the average where it varies.
    """

    model: MotionModel
    precision: Precision
    time_base: str = Field(pattern=r"^[1-9]\d{0,18}(/[1-9]\d{0,18})?$")
    rate: str = Field(pattern=r"^[1-9]\d{0,18}(/[1-9]\d{0,18})?$")

    def fractions(self) -> tuple[Fraction, Fraction]:
        """Time base and rate."""
        return Fraction(self.time_base), Fraction(self.rate)


class End(Record):
    """The end of a motion file.

    Attributes:
        frames: how many there are.
        duration: ticks for which the last of them is shown.
    """

    frames: int = Field(ge=1)
    duration: int = Field(ge=0)


class Block(NamedTuple):
    """A block whose hash is right: a letter, and what follows it."""

    kind: bytes
    content: bytes


class Chain:
    """The hashes of a file's blocks, each over the one before."""

    def __init__(self) -> None:
        self._last = hashlib.sha256(PREFIX.pack(MAGIC, VERSION)).digest()

    def next(self, block: bytes) -> bytes:
        """The hash of a block with its length."""
        self._last = hashlib.sha256(self._last + block).digest()
        return self._last


def read_blocks(file: BinaryIO, subject: str) -> Iterator[Block]:
    """The blocks of a file, each verified before it comes; memory for one is taken.

    Raises:
        MaskanimError: it is not a motion file, of another version, damaged, cut short, or followed by something else.
    """
    _read_prefix(file, subject)
    chain, frames, where = Chain(), 0, "damaged at its beginning"
    while True:
        block = _read_block(file, chain, subject, where)
        yield block
        if block.kind == FRAMES:
            frames += COUNT.unpack_from(block.content)[0]
        where = f"damaged behind {frames} whole frames"
        if block.kind == END:
            if file.read(1):
                raise damaged(subject, "something behind its end")
            return


def pack_block(chain: Chain, kind: bytes, content: bytes) -> bytes:
    """A block as it is written."""
    block = LENGTH.pack(len(kind) + len(content)) + kind + content
    return block + chain.next(block)


def parse(record: type[Record], block: Block, subject: str) -> Any:
    """A record from a block of JSON.

    Raises:
        MaskanimError: it is another one, although its hash is right: another program wrote it.
    """
    try:
        return record.model_validate_json(block.content)
    except ValidationError as error:
        raise damaged(subject, f"its {record.__name__.lower()} says something else") from error


def _read_prefix(file: BinaryIO, subject: str) -> None:
    prefix = file.read(PREFIX.size)
    if len(prefix) < PREFIX.size or not prefix.startswith(MAGIC):
        raise MaskanimError(subject, "not a motion file", EXPECTED)
    version = PREFIX.unpack(prefix)[1]
    if version != VERSION:
        known = f"version {VERSION}, which this maskanim reads"
        raise MaskanimError(subject, f"a motion file of format version {version}", known, "Install a newer maskanim")


def _read_block(file: BinaryIO, chain: Chain, subject: str, where: str) -> Block:
    length = file.read(LENGTH.size)
    size = LENGTH.unpack(length)[0] if len(length) == LENGTH.size else 0
    if size > MAX_BLOCK:
        raise damaged(subject, where)
    content, digest = file.read(size), file.read(HASH_SIZE)
    if len(digest) < HASH_SIZE or not size:
        raise damaged(subject, f"{where}, or cut short there")
    if chain.next(length + content) != digest:
        raise damaged(subject, where)
    return Block(content[:1], content[1:])


def damaged(subject: str, received: str) -> MaskanimError:
    """The refusal of a file that is not as it was written."""
    return MaskanimError(subject, received, "a whole motion file", AGAIN)
