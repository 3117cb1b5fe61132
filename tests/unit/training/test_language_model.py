"""Language modelling: what is masked, by hand; the loss, against Transformers' own."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as hf

from esm.common.errors import EncoderError
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.tasks.task import Texts
from esm.training.language_model import LanguageModel, check_language_model, choose_tokens, pretrain
from esm.training.settings import FineTuneConfig
from tests.tiny_models import KINDS, save_tiny

TEXTS = ["the food was very good", "a bad film , slow and cold", "vaccine"]
MODELS = sorted({*KINDS} - {"bart", "t5"})  # these are halves of their models


def an_encoder(folder, max_length=32):
    return Encoder.load(EncoderConfig(model=str(folder), max_length=max_length), device="cpu")


def whole_model(kind, folder):
    """A tiny model with its language-model head, saved with its tokenizer."""
    save_tiny(kind, folder)
    loader = hf.AutoModelForCausalLM if kind == "gpt2" else hf.AutoModelForMaskedLM
    with seeded(7):
        model = loader.from_pretrained(folder)
    model.save_pretrained(folder)
    return model.eval()


def test_which_tokens_are_guessed():
    allowed = torch.zeros(50, 40, dtype=torch.bool)
    allowed[:, 1:31] = True
    with seeded(0):
        chosen = choose_tokens(allowed, 0.15)
    assert not (chosen & ~allowed).any()
    assert 0.12 < chosen.sum() / allowed.sum() < 0.18


def test_one_token_is_guessed_at_least_and_none_where_none_may_be():
    allowed = torch.zeros(2, 5, dtype=torch.bool)
    assert not choose_tokens(allowed, 0.5).any()
    allowed[1, 2] = True
    for seed in range(5):
        with seeded(seed):
            assert choose_tokens(allowed, 1e-6).nonzero().tolist() == [[1, 2]]


def test_what_is_shown_of_the_tokens_that_are_guessed(tiny_encoder):
    model = LanguageModel(tiny_encoder)
    mask = tiny_encoder.tokenizer.mask_token_id
    ids = torch.full((200, 50), 20)
    chosen = torch.zeros(200, 50, dtype=torch.bool)
    chosen[:, :25] = True
    with seeded(0):
        shown = model._corrupted(ids, chosen)
    assert (shown[~chosen] == 20).all()
    shares = [float((shown[chosen] == token).float().mean()) for token in (mask, 20)]
    assert shares == pytest.approx([0.8, 0.1], abs=0.02)


def test_special_tokens_and_padding_are_never_guessed(tiny_encoder, monkeypatch):
    model = LanguageModel(tiny_encoder, masked=0.999)
    batch = tiny_encoder.collate(tiny_encoder.tokenize(TEXTS))
    seen = {}
    hidden = tiny_encoder.hidden
    monkeypatch.setattr(tiny_encoder, "hidden", lambda b: seen.update(b) or hidden(b))
    model(batch)
    special = torch.tensor(tiny_encoder.tokenizer.all_special_ids)
    kept = torch.isin(batch["input_ids"], special) | (batch["attention_mask"] == 0)
    assert torch.equal(seen["input_ids"][kept], batch["input_ids"][kept])
    assert not torch.equal(seen["input_ids"], batch["input_ids"])


@pytest.mark.parametrize("kind", MODELS)
def test_the_loss_is_that_of_transformers_with_the_checkpoints_head(kind, tmp_path):
    whole = whole_model(kind, tmp_path)
    encoder = an_encoder(tmp_path)
    model = LanguageModel(encoder).eval()
    assert model.has_own_head
    batch = encoder.collate(encoder.tokenize(TEXTS))
    ids = batch["input_ids"]
    if kind == "gpt2":
        labels, shown = ids.masked_fill(batch["attention_mask"] == 0, -100), ids
        found = model(batch)
    else:
        chosen = torch.zeros_like(ids, dtype=torch.bool)
        chosen[:, 1] = True
        labels = ids.masked_fill(~chosen, -100)
        shown = ids.masked_fill(chosen, encoder.tokenizer.mask_token_id)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "esm.training.language_model.choose_tokens", lambda allowed, share: chosen
            )
            patch.setattr(model, "_corrupted", lambda ids, chosen: shown)
            found = model(batch)
    inputs = {name: batch[name] for name in encoder.reader.inputs if name != "input_ids"}
    with torch.no_grad():
        expected = whole(input_ids=shown, labels=labels, **inputs).loss
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_the_gradient_reaches_the_encoder_itself_and_the_output_matrix_is_its_own(kind, tmp_path):
    encoder = an_encoder(save_tiny(kind, tmp_path))
    with seeded(0):
        model = LanguageModel(encoder)
        model(encoder.collate(encoder.tokenize(TEXTS))).backward()
    words = encoder.model.get_input_embeddings().weight
    assert words.grad is not None
    assert model.whole.get_output_embeddings().weight is words
    total = sum(p.numel() for p in model.whole.parameters())
    assert model.head_parameters == total - sum(p.numel() for p in encoder.model.parameters())
    assert model.head_parameters < words.numel() + 3 * 32 * 32


def test_a_checkpoint_without_a_head_is_told(tiny_encoder):
    with seeded(0):
        first = LanguageModel(tiny_encoder)
    assert not first.has_own_head
    assert "no language-model head: it began at random, its output matrix as" in first.remark
    with seeded(0):
        again = LanguageModel(tiny_encoder)
    assert all(
        torch.equal(one, other)
        for one, other in zip(first.whole.parameters(), again.whole.parameters(), strict=True)
    )


def test_texts_without_tokens_cost_nothing(tiny_encoder):
    model = LanguageModel(tiny_encoder)
    loss = model(tiny_encoder.collate(tiny_encoder.tokenize([""])))
    loss.backward()
    assert float(loss) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_pre_training_makes_texts_less_surprising(kind, tmp_path, monkeypatch):
    encoder = an_encoder(save_tiny(kind, tmp_path))
    trained = encoder.with_model(copy.deepcopy(encoder.model))
    texts = Texts(tuple(f"the {noun} was very good" for noun in ("film", "food", "team") * 8))
    made = []

    class Kept(LanguageModel):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("esm.training.language_model.LanguageModel", Kept)
    config = FineTuneConfig(num_epochs=20, batch_size=8, learning_rate=3e-3)
    with seeded(0):
        told = pretrain(trained, texts, config, 0.3, name="texts")
    with seeded(0):
        fresh = LanguageModel(encoder, 0.3).eval()

    def surprise(model):
        batch = encoder.collate(encoder.tokenize(texts.texts))
        with seeded(1), torch.no_grad():
            return float(model(batch))

    (language,) = made
    assert surprise(language) < 0.5 * surprise(fresh)
    assert told.encoder is trained
    assert told.head_parameters == language.head_parameters
    moved = {
        name
        for name, weight in trained.model.named_parameters()
        if not torch.equal(weight, encoder.model.get_parameter(name))
    }
    assert any("embed" in name or "wte" in name for name in moved)


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_encoders_of_encoder_decoder_models_are_refused(kind, tmp_path):
    encoder = an_encoder(save_tiny(kind, tmp_path))
    message = rf"architecture '{kind}' has no language-model head that is known; expected one of"
    with pytest.raises(EncoderError, match=message):
        check_language_model(encoder.model.config)


def test_a_tokenizer_without_a_mask_is_refused(tiny_encoder):
    tiny_encoder.tokenizer.mask_token = None
    with pytest.raises(EncoderError, match="has no mask; expected a token to put in place"):
        LanguageModel(tiny_encoder)
