#!/usr/bin/env python3
"""Prints the vectors of fabric.json: what two nodes say before a lane's first frame.

Written from docs/protocol/fabric.md and from nothing else, so that the proofs in particular are
computed by another HMAC than Krarup's:

    python3 transport/tests/golden/fabric.py > transport/tests/golden/fabric.json
"""

import hashlib
import hmac
import json
import struct

COOKIE = "gold\u00e9cookie"
INITIATOR = ("gold@127.0.0.1", 0x11223344)
ACCEPTOR = ("b@h\u00f8st.example", 0x55667788)
FLAGS = 0x4000006D07DF7FBD
BOOT_ID = "0f7d0c5c-6f0e-4f2b-8f7c-4c9b6e1f2a3d"
NETWORK_NAMESPACE = 4026531840

HALF_I = bytes(range(0x10, 0x20))
HALF_A = bytes(range(0xA0, 0xB0))
SESSION = HALF_I + HALF_A
NONCE_I = bytes(range(0x20, 0x40))
NONCE_A = bytes(range(0xC0, 0xE0))


def wide(body):
    return struct.pack(">I", len(body)) + body


def narrow(body):
    return struct.pack(">H", len(body)) + body


def host_id(boot_id, namespace):
    return hashlib.sha256(boot_id.encode() + struct.pack("<Q", namespace)).digest()[:16]


def hello(versions, shards, lanes_max, wishes, frame_max, port, host, half, unix):
    fixed = struct.pack("<BBHBBIH", *versions, shards, lanes_max, wishes, frame_max, port)
    return b"K\x01" + fixed + host + half + bytes([len(unix)]) + unix


def join(version, lane, epoch, received):
    head = struct.pack("<BBI", version, lane, epoch)
    return b"K\x04" + head + SESSION + NONCE_I + struct.pack("<Q", received)


def mac(role, message, received_a):
    text = b"krarup-fabric" + role
    for name, creation in (INITIATOR, ACCEPTOR):
        name = name.encode("latin-1")
        text += bytes([len(name)]) + name + struct.pack("<I", creation)
    text += struct.pack("<Q", FLAGS) + message + NONCE_A + struct.pack("<Q", received_a)
    return hmac.new(COOKIE.encode("latin-1"), text, hashlib.sha256).digest()


def joined(name, lane, epoch, received_i, received_a):
    message = join(1, lane, epoch, received_i)
    welcome = b"K\x05" + NONCE_A + struct.pack("<Q", received_a) + mac(b"A", message, received_a)
    confirm = b"K\x06" + mac(b"I", message, received_a)
    return {
        "name": name,
        "lane": lane,
        "epoch": epoch,
        "received_i": received_i,
        "received_a": received_a,
        "join": narrow(message).hex(),
        "welcome": narrow(welcome).hex(),
        "confirm": narrow(confirm).hex(),
    }


HOST = host_id(BOOT_ID, NETWORK_NAMESPACE)

print(
    json.dumps(
        {
            "cookie": COOKIE,
            "initiator": INITIATOR,
            "acceptor": ACCEPTOR,
            "flags": FLAGS,
            "boot_id": BOOT_ID,
            "network_namespace": NETWORK_NAMESPACE,
            "host": HOST.hex(),
            "half_i": HALF_I.hex(),
            "half_a": HALF_A.hex(),
            "nonce_i": NONCE_I.hex(),
            "nonce_a": NONCE_A.hex(),
            "hello": wide(hello((1, 1), 4, 8, 1, 1 << 20, 43210, HOST, HALF_I, b"krarup/a")).hex(),
            "hello_bare": wide(hello((1, 1), 1, 1, 0, 65536, 0, bytes(16), HALF_A, b"")).hex(),
            "lanes": wide(b"K\x02\x03\x00\x02\x03").hex(),
            "lanes_ok": wide(b"K\x03").hex(),
            "joins": [
                joined("the first connection of a lane", 2, 1, 0, 0),
                joined("a resume", 0, 0x01020304, 0x0102030405060708, 0xFFFFFFFFFFFFFFFE),
            ],
            "refused": {str(code): narrow(b"K\x07" + bytes([code])).hex() for code in range(1, 7)},
        },
        indent=1,
    )
)
