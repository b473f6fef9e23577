"""A zip archive's directory, read strictly: every entry lies inside the file and by itself.

Entries that are stored as they are (all of torch's, those of `np.savez`) are views of the file.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib

from weights_convert.readers.foreign import Meter, Refused
from weights_convert.readers.machine import spelled

__all__ = ["Archive"]

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_LONGEST_COMMENT = 0xFFFF
_UNKNOWN = 0xFFFFFFFF
_STORED, _DEFLATED = 0, 8


@dataclasses.dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    method: int
    crc: int
    packed: int
    size: int
    header: int


class Archive:
    """The entries of an archive by name.

    Args:
        data: the whole file.
        meter: pays for what is inflated.

    Raises:
        Refused: no archive, a damaged one, or one that is built to mislead.
    """

    def __init__(self, data: memoryview, meter: Meter):
        self._data, self._meter = data, meter
        count, start, end = _directory(data)
        if count > meter.limits.entries:
            limit = meter.limits.entries
            raise Refused(f"must be an archive of at most {limit} files, got {count}")
        self._entries: dict[str, _Entry] = {}
        position = start
        for _ in range(count):
            entry, position = _entry(data, position, end)
            if entry.name in self._entries:
                raise Refused(f"is an archive that holds {spelled(entry.name)} twice")
            self._entries[entry.name] = entry
        if position != end:
            raise Refused("is a damaged archive: its directory is longer than its entries")
        self._starts = self._located(start)

    @property
    def names(self) -> list[str]:
        """Of all entries, in the order of the directory."""
        return list(self._entries)

    def read(self, name: str) -> memoryview:
        """The bytes of an entry, checked against its checksum.

        Raises:
            Refused: no such entry, a damaged one, or one that inflates to more than it says.
        """
        if name not in self._entries:
            raise Refused(f"lacks {spelled(name)}")
        entry = self._entries[name]
        start = self._starts[name]
        content = self._data[start : start + entry.packed]
        if entry.method == _DEFLATED:
            self._meter.bytes(entry.size)
            content = _inflated(content, entry)
        # torch can be told to leave checksums out, and then writes zero.
        unknown = entry.method == _STORED and not entry.crc
        if not unknown and zlib.crc32(content) != entry.crc:
            raise Refused(f"is damaged: {spelled(name)} does not have its checksum")
        return content

    def _located(self, directory: int) -> dict[str, int]:
        """Where the bytes of each entry start; none may reach into another, or the directory."""
        starts, free = {}, 0
        for entry in sorted(self._entries.values(), key=lambda entry: entry.header):
            at = entry.header
            if at < free or at + 30 > directory or self._data[at : at + 4] != _LOCAL:
                raise Refused(
                    f"is a damaged archive: {spelled(entry.name)} is not where it should be"
                )
            flags, method = struct.unpack_from("<HH", self._data, at + 6)
            name_size, extra_size = struct.unpack_from("<HH", self._data, at + 26)
            start = at + 30 + name_size + extra_size
            free = start + entry.packed
            name = _name(self._data[at + 30 : at + 30 + name_size])
            if free > directory or name != entry.name or method != entry.method or flags & 1:
                raise Refused(
                    f"is a damaged archive: {spelled(entry.name)} is not where it should be"
                )
            starts[entry.name] = start
        return starts


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Number of entries, start and end of the directory."""
    tail = bytes(data[-(22 + _LONGEST_COMMENT) :])
    found = tail.rfind(_END)
    if found < 0 or len(tail) - found < 22:
        raise Refused("is a truncated archive: it has no directory")
    end = len(data) - len(tail) + found
    disk, first_disk, here, count, size, start, comment = struct.unpack_from(
        "<4H2IH", data, end + 4
    )
    if end + 22 + comment != len(data):
        raise Refused("is a damaged archive: bytes stand behind its directory")
    if end >= 20 and data[end - 20 : end - 16] == _LOCATOR64:
        disk, at, disks = struct.unpack_from("<IQI", data, end - 16)
        if at + 56 != end - 20 or data[at : at + 4] != _END64 or disks > 1:
            raise Refused("is a damaged archive: its zip64 directory is not where it should be")
        end = at
        disk, first_disk, here, count, size, start = struct.unpack_from("<2I4Q", data, at + 16)
    if disk or first_disk or here != count or start + size != end:
        raise Refused("is a damaged archive: its directory is not where it should be")
    return count, start, end


def _entry(data: memoryview, at: int, end: int) -> tuple[_Entry, int]:
    if at + 46 > end or data[at : at + 4] != _CENTRAL:
        raise Refused("is a damaged archive: its directory ends in the middle")
    flags, method, _, crc, packed, size, name_size, extra_size, comment_size, disk = (
        struct.unpack_from("<2HI3I4H", data, at + 8)
    )
    (header,) = struct.unpack_from("<I", data, at + 42)
    after_name = at + 46 + name_size
    following = after_name + extra_size + comment_size
    if following > end:
        raise Refused("is a damaged archive: its directory ends in the middle")
    name = _name(data[at + 46 : after_name])
    if _UNKNOWN in (packed, size, header):
        size, packed, header = _zip64(
            data[after_name : after_name + extra_size], size, packed, header
        )
    if flags & 1 or disk or method not in (_STORED, _DEFLATED):
        raise Refused(
            f"is an archive whose {spelled(name)} is encrypted or packed in an unknown way"
        )
    if method == _STORED and size != packed:
        raise Refused(f"is a damaged archive: {spelled(name)} has two sizes")
    return _Entry(name, method, crc, packed, size, header), following


def _name(raw: memoryview) -> str:
    return str(raw, "utf-8", "replace")


def _zip64(extra: memoryview, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """The fields that do not fit in four bytes, in the order in which the format lists them."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            numbers = extra[at + 4 : at + 4 + length]
            long = [int.from_bytes(numbers[i : i + 8], "little") for i in range(0, len(numbers), 8)]
            fields = [size, packed, header]
            wanted = [i for i, field in enumerate(fields) if field == _UNKNOWN]
            if len(long) < len(wanted):
                break
            for i, number in zip(wanted, long, strict=False):
                fields[i] = number
            return fields[0], fields[1], fields[2]
        at += 4 + length
    raise Refused("is a damaged archive: a long entry lacks its size")


def _inflated(content: memoryview, entry: _Entry) -> memoryview:
    inflate = zlib.decompressobj(-15)
    try:
        # One byte more than it says shows that there is more.
        made = inflate.decompress(content, entry.size + 1)
    except zlib.error:
        raise Refused(f"is damaged: {spelled(entry.name)} does not inflate") from None
    if len(made) != entry.size or not inflate.eof or inflate.unused_data:
        raise Refused(f"is damaged: {spelled(entry.name)} does not inflate to what it says")
    return memoryview(made)
