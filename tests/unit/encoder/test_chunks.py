"""Windows over long texts: every token is read, none twice but the overlap, no window too long."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esm.encoder.chunks import Frame, Tokens, windows

BERT = Frame(before=1, between=0, after=1)
BERT_PAIR = Frame(before=1, between=1, after=1)


def test_windows_of_a_single_text_by_hand():
    # [CLS] a b c d e f [SEP] in windows of 4 + 2 tokens that share one.
    split = windows(6, 0, BERT, max_length=6, stride=1, max_chunks=9)
    assert split.positions == ((0, 1, 2, 3, 4, 7), (0, 4, 5, 6, 7))
    assert split.own == (4, 3)
    assert not split.is_cut


def test_of_a_pair_the_shorter_text_stands_beside_every_window_of_the_longer():
    # [CLS] a b [SEP] v w x y z [SEP]: room for 2 + 3 tokens, no overlap.
    split = windows(2, 5, BERT_PAIR, max_length=8, stride=0, max_chunks=9)
    assert split.positions == ((0, 1, 2, 3, 4, 5, 6, 9), (0, 1, 2, 3, 7, 8, 9))
    assert split.own == (3, 2)
    swapped = windows(5, 2, BERT_PAIR, max_length=8, stride=0, max_chunks=9)
    assert swapped.positions == ((0, 1, 2, 3, 6, 7, 8, 9), (0, 4, 5, 6, 7, 8, 9))
    assert swapped.own == (3, 2)


def test_a_second_long_text_gets_half_of_the_room():
    split = windows(9, 9, BERT_PAIR, max_length=9, stride=0, max_chunks=9)
    assert split.is_cut  # six of the nine tokens of the first text are in no window
    assert [sum(1 <= p <= 9 for p in chunk) for chunk in split.positions] == [3, 3, 3]
    assert split.own == (3, 3, 3)


def test_the_weights_of_chunks_are_their_shares_of_the_text():
    whole = {"input_ids": [101, 7, 8, 9, 102], "attention_mask": [1] * 5}
    text = windows(3, 0, BERT, max_length=4, stride=0, max_chunks=2).of(whole)
    assert [chunk["input_ids"] for chunk in text.chunks] == [[101, 7, 8, 102], [101, 9, 102]]
    assert [chunk["attention_mask"] for chunk in text.chunks] == [[1] * 4, [1] * 3]
    assert text.weights == pytest.approx((2 / 3, 1 / 3))
    assert (len(text), text.longest) == (7, 4)


def test_a_short_text_is_one_chunk():
    text = Tokens(({"input_ids": [1, 2, 3]},))
    assert (len(text), text.longest, text.weights) == (3, 3, (1.0,))


@given(
    first=st.integers(0, 60),
    second=st.integers(0, 60),
    frame=st.builds(Frame, st.integers(0, 1), st.integers(0, 2), st.integers(0, 1)),
    max_length=st.integers(8, 24),
    stride=st.integers(0, 40),
    max_chunks=st.integers(1, 9),
)
def test_what_holds_of_all_windows(first, second, frame, max_length, stride, max_chunks):
    total = first + second + frame.size
    if total <= max_length:
        return  # such a text is one chunk
    split = windows(
        first, second, frame, max_length=max_length, stride=stride, max_chunks=max_chunks
    )
    assert 1 <= len(split.positions) <= max_chunks
    assert len(split.positions[0]) == max_length  # full
    assert all(len(chunk) <= max_length for chunk in split.positions)
    assert all(list(chunk) == sorted(set(chunk)) for chunk in split.positions)
    read = set().union(*split.positions)
    assert split.is_cut == (read != set(range(total)))
    texts = [range(frame.before, frame.before + first)]
    texts.append(range(total - frame.after - second, total - frame.after))
    special = set(range(total)).difference(*texts)
    assert all(special <= set(chunk) for chunk in split.positions)
    assert min(split.own) > 0
    assert np.isclose(sum(split.of({"input_ids": list(range(total))}).weights), 1.0)


@given(length=st.integers(30, 300), stride=st.integers(0, 60))
def test_neighbours_share_the_stride_and_half_a_window_at_most(length, stride):
    split = windows(length, 0, BERT, max_length=22, stride=stride, max_chunks=99)
    assert not split.is_cut
    for one, next_one in zip(split.positions, split.positions[1:], strict=False):
        shared = set(one) & set(next_one) - {0, length + 1}
        assert len(shared) == min(stride, 10)
