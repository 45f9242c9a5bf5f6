"""What containers keep: each of their directories as files of this machine, and the records of Prometheus' log."""

import io
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pyarrow as pa

# https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/wal.md
_PAGE = 32 * 1024
_HEADER = struct.Struct(">BHI")  # type and compression, length, checksum
_KIND, _SNAPPY, _ZSTD = 0x07, 0x08, 0x10
_FULL, _FIRST, _LAST = 1, 2, 4


def copied(client: docker.DockerClient, container: str, path: str, into: Path) -> Path:
    """Copy a directory of a container, running or stopped, volumes in it included; return where it lies."""
    chunks, _ = client.containers.get(container).get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        archive.extractall(into, filter="data")
    return into / Path(path).name


def wal_records(directory: Path) -> Iterator[bytes]:
    """Yield the records of a Prometheus' write-ahead log, uncompressed."""
    for segment in sorted(path for path in directory.iterdir() if path.name.isdigit()):
        parts = b""
        for flags, fragment in _fragments(segment.read_bytes()):
            parts = fragment if flags & _KIND in (_FULL, _FIRST) else parts + fragment
            if flags & _KIND in (_FULL, _LAST):
                yield _uncompressed(flags, parts)


def _fragments(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the flags and bytes of each part of a record; a zero in the place of the flags fills the page."""
    at = 0
    while at + _HEADER.size <= len(raw):
        flags, length, _ = _HEADER.unpack_from(raw, at)
        if flags == 0:
            at = (at // _PAGE + 1) * _PAGE
            continue
        yield flags, raw[at + _HEADER.size : at + _HEADER.size + length]
        at += _HEADER.size + length
        if at % _PAGE and _PAGE - at % _PAGE < _HEADER.size:
            at = (at // _PAGE + 1) * _PAGE


def _uncompressed(flags: int, record: bytes) -> bytes:
    assert not flags & _ZSTD, "Prometheus compresses its log with snappy unless told otherwise"
    if not flags & _SNAPPY:
        return record
    size, shift = 0, 0
    for byte in record:  # a varint in front says how long it is
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return bytes(pa.Codec("snappy").decompress(record, decompressed_size=size))
