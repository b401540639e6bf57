#!/usr/bin/env python3
"""Writes and reads streams of version 1 by the package comment alone.

    v1.py write OUT             the stream of a fixed volume, packed by zstd(1)
    v1.py read IN IMAGE         unpacks a stream; exits 1 if it is damaged

It shares no code with the Go package: what one writes the other must read.
"""
import hashlib, json, struct, subprocess, sys, zlib

MIB = 1 << 20


def zstd(data, *args):
    return subprocess.run(["zstd", "-q", "-c", *args], input=data, stdout=subprocess.PIPE, check=True).stdout


def content(n, seed):
    out = bytearray()
    while len(out) < n:
        out += hashlib.sha256(b"%d %d" % (seed, len(out))).digest() + b"a line of text, over and over\n" * 3
    return bytes(out[:n])


def write(path):
    text = json.dumps({
        "volume": "golden", "fs": "xfs", "size": 5 * MIB + 777, "used": 123456,
        "created": "2026-11-23T08:30:00.5+01:00", "host": "python", "options": {"größe": "5m", "uid": "1000"},
    }, ensure_ascii=False).encode()
    raw = b"mos-volume-stream 1 %d %08x\n%s\n" % (len(text), zlib.crc32(text), text)
    digest, out, total = hashlib.sha256(raw), raw, 0
    frames = [(0, content(1, 1)), (1, content(70000, 2)), (MIB - 5, content(50000, 3)),
              (2 * MIB, bytes(MIB)), (5 * MIB, content(777, 4))]
    for offset, data in frames:
        packed = zstd(data, "-19")
        frame = b"F" + struct.pack(">QII", offset, len(data), len(packed)) + packed
        out += frame + struct.pack(">I", zlib.crc32(frame))
        digest.update(struct.pack(">QI", offset, len(data)) + hashlib.sha256(data).digest())
        total += len(data)
    tail = b"T" + struct.pack(">QQ", len(frames), total) + digest.digest()
    with open(path, "wb") as f:
        f.write(out + tail + struct.pack(">I", zlib.crc32(tail)))


def read(path, image):
    with open(path, "rb") as f:
        b = f.read()
    line, rest = b.split(b"\n", 1)
    magic, version, length, crc = line.split(b" ")
    assert (magic, version) == (b"mos-volume-stream", b"1")
    text, at = rest[:int(length)], len(line) + 1 + int(length) + 1
    assert b"%08x" % zlib.crc32(text) == crc and b[at - 1:at] == b"\n"
    size = json.loads(text)["size"]
    digest, floor, count, total = hashlib.sha256(b[:at]), 0, 0, 0
    with open(image, "wb") as f:
        f.truncate(size)
        while b[at:at + 1] == b"F":
            offset, n, packed = struct.unpack(">QII", b[at + 1:at + 17])
            end = at + 17 + packed
            assert struct.unpack(">I", b[end:end + 4])[0] == zlib.crc32(b[at:end])
            data = zstd(b[at + 17:end], "-d")
            assert len(data) == n and offset >= floor and offset + n <= size
            f.seek(offset)
            f.write(data)
            digest.update(b[at + 1:at + 13] + hashlib.sha256(data).digest())
            floor, count, total, at = offset + n, count + 1, total + n, end + 4
    tail = b"T" + struct.pack(">QQ", count, total) + digest.digest()
    assert b[at:] == tail + struct.pack(">I", zlib.crc32(tail))


{"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
