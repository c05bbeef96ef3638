#!/usr/bin/env python3
"""Prints the vectors of lane.json: frames on a lane, without and with checksums.

Written from docs/protocol/fabric.md and from nothing else, so that the checksums in particular are
computed by another CRC-32 than Krarup's:

    python3 transport/tests/golden/lane.py > transport/tests/golden/lane.json

A payload is given as `head` and `pattern`: bytes in front, and how many bytes (7 i) mod 256 behind.
"""

import json
import struct
import zlib

INITIATOR = ("gold@127.0.0.1", 0x11223344)
ACCEPTOR = ("b@h\u00f8st.example", 0x55667788)
FROM = (0x01020304, 0x05060708)
TO = (0x0A0B0C0D, 0x0E0F1011)
NOBODY = (0, 0)
RAW, MORE = 1, 2
PAYLOAD_MAX = 65536


def pattern(count):
    return bytes(7 * i % 256 for i in range(count))


def frame(kind, flags, head, sender, target, payload):
    """The header, its checksum, and how much payload follows."""
    header = struct.pack("<BBHIIIII", kind, flags, head, len(payload), *sender, *target)
    checksum = struct.pack("<I", zlib.crc32(header + payload))
    return {"header": header.hex(), "checksum": checksum.hex(), "length": len(payload)}


def signal(kind, flags, sender, target, head, payload):
    whole = head + payload
    first, rest = whole[:PAYLOAD_MAX], whole[PAYLOAD_MAX:]
    frames = [frame(kind, flags | (MORE if rest else 0), len(head), sender, target, first)]
    while rest:
        piece, rest = rest[:PAYLOAD_MAX], rest[PAYLOAD_MAX:]
        frames.append(frame(4, MORE if rest else 0, 0, sender, NOBODY, piece))
    return frames


def binary_head(count):
    return b"m" + struct.pack(">I", count)


def pid(node, number):
    name = node[0].encode()
    return b"Xw" + bytes([len(name)]) + name + struct.pack(">III", *number, node[1])


def control(operation, *elements):
    return b"h" + bytes([1 + len(elements), ord("a"), operation]) + b"".join(elements)


def vector(name, frames, front=b"", count=0):
    return {"name": name, "front": front.hex(), "pattern": count, "frames": frames}


def message(name, kind, flags, target, head, front, count):
    payload = front + pattern(count)
    return vector(name, signal(kind, flags, FROM, target, head, payload), head + front, count)


NAME = "\u00e9cho".encode()
LINK = control(1, pid(INITIATOR, FROM), pid(ACCEPTOR, TO))
EXIT = control(24, pid(INITIATOR, FROM), pid(ACCEPTOR, TO))

VECTORS = [
    message("raw", 1, RAW, TO, b"", b"", 16),
    message("raw_empty", 1, RAW, TO, b"", b"", 0),
    message("raw_frame", 1, RAW, TO, b"", b"", 65536),
    message("raw_large", 1, RAW, TO, b"", b"", 2 * 65536 + 1),
    message("term", 1, 0, TO, b"", binary_head(16), 16),
    message("term_large", 1, 0, TO, b"", binary_head(65536), 65536),
    message("named_raw", 2, RAW, NOBODY, NAME, b"", 16),
    message("named_term", 2, 0, NOBODY, NAME, binary_head(16), 16),
    message("named_large", 2, 0, NOBODY, NAME, binary_head(65536), 65536),
    message("link", 3, 0, NOBODY, LINK, b"", 0),
    message("exit", 3, 0, NOBODY, EXIT, binary_head(16), 16),
    message("exit_large", 3, 0, NOBODY, EXIT, binary_head(65536), 65536),
    vector("ack_40", [frame(5, 0, 0, (40, 0), NOBODY, b"")]),
    vector("ack_44", [frame(5, 0, 0, (44, 0), NOBODY, b"")]),
    vector("tick", [frame(6, 0, 0, NOBODY, NOBODY, b"")]),
    vector("hold", [frame(7, 0, 0, FROM, TO, b"")]),
    vector("hold_name", [frame(7, 0, 0, FROM, TO, NAME)], NAME),
    vector("release", [frame(8, 0, 0, FROM, TO, b"")]),
    vector("bye", [frame(9, 0, 0, NOBODY, NOBODY, b"shutdown")], b"shutdown"),
]

print(json.dumps({"initiator": INITIATOR, "acceptor": ACCEPTOR, "from": FROM, "to": TO,
                  "vectors": VECTORS}, indent=1))
