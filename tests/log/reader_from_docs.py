"""A reader of logs, raw and sealed, written from docs/format.md alone: it imports nothing of mlsdk."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib

CODES = {"f": "d", "i": "q", "u": "Q"}


def _frame(data, start, last):
    """(type, number, payload, end) of the frame at an offset, or None."""
    if start + 13 > len(data):
        return None
    length, kind, number = struct.unpack_from("<IBI", data, start)
    end = start + 13 + length
    if end > len(data) or not 1 <= kind <= 6 or number <= last:
        return None
    if struct.unpack_from("<I", data, end - 4)[0] != zlib.crc32(data[start : end - 4]):
        return None
    return kind, number, data[start + 9 : end - 4], end


def read(data):
    """Entries of a raw log, and where it ends."""
    entries, schemas, at, last = [], {}, 0, -1
    while True:
        frame = _frame(data, at, last)
        if frame is None:
            later = next((place for place in range(at + 1, len(data)) if _frame(data, place, last)), None)
            if later is None:
                return entries, at
            entries.append(("damage", at, later))
            at = later
            continue
        kind, number, payload, end = frame
        entry = _entry(kind, payload, schemas)
        if entry is None:
            entries.append(("damage", at, end))
        elif entry[0] != "schema":
            entries.append(entry)
        at, last = end, number


def _entry(kind, payload, schemas):
    try:
        if kind == 3:
            number, names, kinds = _schema(payload)
            schemas[number] = names, kinds
            return ("schema",)
        if kind == 4:
            number, step, time = struct.unpack_from("<Iqq", payload)
            names, kinds = schemas[number]
            if len(payload) != 20 + 8 * len(names):
                return None
            return "point", names, kinds, step, time, payload[20:]
        if kind == 5:
            stream, time = struct.unpack_from("<Bq", payload)
            return "output", stream, time, payload[9:].decode("utf-8", "replace")
        content = _json(payload)
        if type(content) is not dict:
            return None
        if kind == 1:
            if type(content.get("format")) is int and content["format"] > 1:
                raise SystemExit("a newer format")
            return "open", content
        time = content["t"]
        order = content.get("o", time)
        if not all(type(number) is int and -(2**63) <= number < 2**63 for number in (time, order)):
            return None
        if kind == 6:
            return "close", time
        kinds = content["set"]
        if type(kinds) is not dict or not all(type(values) is dict for values in kinds.values()):
            return None
        return "facts", time, order, kinds
    except (struct.error, ValueError, KeyError):
        return None


def _json(data):
    def refuse(constant):
        raise ValueError(constant)

    return json.loads(data.decode("utf-8"), parse_constant=refuse)


def _schema(payload):
    number, count = struct.unpack_from("<II", payload)
    kinds = payload[8 : 8 + count].decode("ascii")
    names, at = [], 8 + count
    for _ in range(count):
        (length,) = struct.unpack_from("<I", payload, at)
        names.append(payload[at + 4 : at + 4 + length].decode("utf-8", "surrogatepass"))
        at += 4 + length
    if at != len(payload) or len(set(names)) < count or not set(kinds) <= set(CODES):
        raise ValueError
    return number, names, kinds


def merge(logs):
    """From raw logs by name: the winner of each kind and key of facts."""
    best = {}
    for name, data in logs.items():
        entries, _ = read(data)
        role = next((entry[1].get("role") for entry in entries if entry[0] == "open"), None)
        *before, number = str(role).split(" ")
        rank = int(number) if before in (["rank"], ["companion", "rank"]) and number.isdecimal() else 0
        for entry in entries:
            if entry[0] == "facts":
                for kind, values in entry[3].items():
                    if rank and kind in {"params", "metrics", "code", "env", "hardware", "captures"}:
                        continue
                    for name_in_log, value in values.items():
                        key = name_in_log
                        if kind == "run" and key in {"status", "ended_ns", "error"} and role != "main":
                            continue
                        if kind == "run" and key in {"name", "experiment", "started_ns"} and rank:
                            continue
                        if kind == "problems" and rank:
                            key = f"rank {rank}: {key}"
                        found = (entry[2], name)
                        if (kind, key) not in best or found >= best[kind, key][0]:
                            best[kind, key] = found, value
    return {key: value for key, (_, value) in best.items() if value is not None or key[0] == "params"}


class Seal:
    """A sealed log taken apart."""

    def __init__(self, data):
        packed, length, checksum, magic = struct.unpack("<III8s", data[-20:])
        assert data[:8] == magic == b"MLSDKSL\x01"
        text = data[-20 - packed : -20]
        assert checksum == zlib.crc32(text + data[-20:-12])
        text = zlib.decompress(text)
        assert len(text) == length
        self.index = index = _json(text)
        self.data, self.at = data, 8
        self.links = self._checked(32 * -(-index["raw_length"] // 65536) + 4)
        self.rest = zlib.decompress(self._checked(index["rest"][1] + 4))
        count, of_points, *lengths = index["runs"]
        rows = (count, count, of_points)
        self.runs = [self._column(n, part, "q") for n, part in zip(rows, lengths, strict=True)]
        self.groups = []
        for group in index["groups"]:
            codes = "qq" + "".join(CODES[kind] for kind in group["kinds"])
            columns = [
                self._column(group["rows"], part, code) for part, code in zip(group["columns"], codes, strict=True)
            ]
            self.groups.append((group, columns))
        self.pyramids = {
            name: [self._column(n, part, code) for part, code in zip(parts, "dddqq", strict=True)]
            for name, n, parts in index["pyramids"]
        }
        assert self.at == len(data) - 20 - packed

    def _take(self, length):
        self.at += length
        return self.data[self.at - length : self.at]

    def _checked(self, length):
        part = self._take(length)
        assert struct.unpack("<I", part[-4:])[0] == zlib.crc32(part[:-4])
        return part[:-4]

    def _column(self, rows, lengths, code):
        values = []
        for length in lengths:
            values += _chunk(self._checked(length), min(rows - len(values), 65536), code)
        assert len(values) == rows
        return values

    def raw(self):
        """The raw log."""
        rest, expected, out = 0, 0, []
        done = [0] * len(self.groups)
        gaps = iter(self.runs[2])
        for group, rows in zip(*self.runs[:2], strict=True):
            if group == 0:
                out.append(self.rest[rest : rest + rows])
                rest += rows
                continue
            about, columns = self.groups[group - 1]
            first = expected + next(gaps)
            for number in range(first, first + rows):
                out.append(_points_frame(about, [column[done[group - 1]] for column in columns], number))
                done[group - 1] += 1
            expected = first + rows
        raw = b"".join(out)
        assert len(raw) == self.index["raw_length"]
        assert hashlib.sha256(raw).hexdigest() == self.index["sha256"]
        link, links = hashlib.sha256(self.index["log"].encode("utf-8", "surrogatepass")).digest(), b""
        for at in range(0, len(raw), 65536):
            link = hashlib.sha256(link + raw[at : at + 65536]).digest()
            links += link
        assert links == self.links
        return raw


def _points_frame(about, row, number):
    codes = "".join(CODES[kind] for kind in about["kinds"])
    body = struct.pack("<IBIIqq" + codes, 20 + 8 * len(codes), 4, number, about["number"], *row)
    return body + struct.pack("<I", zlib.crc32(body))


def _chunk(chunk, rows, code):
    encoding = chunk[0]
    if encoding in {2, 3}:
        width = 8 if encoding == 2 else 4
        return list(struct.unpack(f"<{rows}{'d' if width == 8 else 'f'}", _unplane(chunk[1:], rows, width, width)))
    if encoding == 0:
        base, width = struct.unpack_from("<qB", chunk, 1)
        values = [over + base for over in struct.unpack(f"<{rows}Q", _unplane(chunk[10:], rows, 8, width))]
    else:
        first, base, width = struct.unpack_from("<qqB", chunk, 1)
        values = [first]
        for over in struct.unpack(f"<{rows - 1}Q", _unplane(chunk[18:], rows - 1, 8, width)):
            values.append(values[-1] + over + base)
    values = [value % 2**64 for value in values]
    return values if code == "Q" else [value - 2**64 if value >= 2**63 else value for value in values]


def _unplane(data, rows, size, width):
    out, at = bytearray(rows * size), 0
    for number in range(width):
        kind = data[at]
        if kind == 0:
            plane, at = data[at + 1 : at + 2] * rows, at + 2
        elif kind == 1:
            plane, at = data[at + 1 : at + 1 + rows], at + 1 + rows
        else:
            (length,) = struct.unpack_from("<I", data, at + 1)
            plane, at = zlib.decompress(data[at + 5 : at + 5 + length]), at + 5 + length
        out[number::size] = plane
    assert at == len(data)
    return bytes(out)
