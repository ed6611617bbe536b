"""Whether a video file ends where its container says that it does, for containers that do not state a length.

Of transport streams, program streams and raw codecs that were cut between two packets nothing tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

HEAD = 1 << 16  # bytes in which an ASF file has its properties
TAIL = 1 << 17  # more than a page of Ogg can take
PAGE_HEAD, LAST_PAGE = 27, 4  # RFC 3533, section 6
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes of one, and where its sync byte is; M2TS puts a time before it


def missing_end(path: Path, formats: Iterable[str], packet: int) -> str:
    """What tells that a file was cut; empty if nothing does.

    Args:
        path: the file.
        formats: FFmpeg's names of its container.
        packet: bytes of one of its video's packets, which for DV are all of one size.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, size - TAIL))
        tail = file.read()
    if "asf" in formats:
        stated = _asf_size(head)
        return f"cut short: it has {size} of {stated} bytes" if stated > size else ""
    ends = {
        "dv": not packet or size % packet == 0,
        "gif": tail.rstrip(b"\0").endswith(b";"),
        "mpegts": _whole_packets(head, size),
        "ogg": _has_last_page(tail),
    }
    return "" if all(ends.get(name, True) for name in formats) else "cut short: the end of the file is missing"


def _asf_size(head: bytes) -> int:
    """The size that an ASF file states; 0 where it is a recording under way, which does not know it."""
    at = head.find(ASF_PROPERTIES)
    if at < 0 or head[at + 88] & 1:
        return 0
    return int.from_bytes(head[at + 40 : at + 48], "little")


def _whole_packets(head: bytes, size: int) -> bool:
    for length, sync in TS_PACKETS:
        if head[sync : sync + 1] == head[sync + length : sync + length + 1] == b"G":
            return size % length == 0
    return True


def _has_last_page(tail: bytes) -> bool:
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < PAGE_HEAD:
        return False
    sizes = page[PAGE_HEAD : PAGE_HEAD + page[26]]
    return bool(page[5] & LAST_PAGE) and len(page) >= PAGE_HEAD + page[26] + sum(sizes)
