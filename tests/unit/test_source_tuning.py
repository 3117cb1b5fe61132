"""Tuning on a corpus: what is kept, what is judged, and that it is the same every time."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import transformers as hf

from esm.encoder import Encoder, EncoderConfig
from esm.errors import EncoderError, FitError, TaskError
from esm.finetune import fine_tune
from esm.language_model import LanguageModel, held_out_loss
from esm.runtime import seeded
from esm.settings import FineTuneConfig
from esm.source_tuning import tune_on_source
from esm.tasks.task import Examples, Problem, SplitName, Texts
from tests.tiny_models import save_tiny
from tests.toy_tasks import toy_task

LEARNS = FineTuneConfig(num_epochs=12, learning_rate=1e-2, batch_size=16)
ONE_EPOCH = FineTuneConfig(num_epochs=1, learning_rate=1e-3)


def corpus(texts=None, **sizes):
    task = toy_task(Problem.CORPUS, **sizes)
    if texts is None:
        return task
    rows = Examples(tuple(texts), None, np.zeros(len(texts), dtype=np.int64))
    return dataclasses.replace(task, splits={SplitName.TRAIN: rows})


def weights(encoder):
    return {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}


@pytest.mark.parametrize("pairs", [False, True])
def test_a_model_learns_to_guess_the_tokens_of_a_corpus(tiny_encoder, pairs):
    before = weights(tiny_encoder)
    tuned = tune_on_source(tiny_encoder, corpus(num_train=96, pairs=pairs), LEARNS)
    assert tuned.head == {}
    assert 80 <= tuned.examples <= 90  # about a tenth was held out
    assert set(tuned.quality) == {"loss", "perplexity", "loss_before", "perplexity_before"}
    # At random, all tokens of the vocabulary are about as likely.
    vocabulary = math.log(len(tiny_encoder.tokenizer))
    assert tuned.quality["loss_before"] == pytest.approx(vocabulary, abs=0.5)
    assert tuned.quality["loss"] < tuned.quality["loss_before"] - 1
    for name in ("", "_before"):
        expected = math.exp(tuned.quality[f"loss{name}"])
        assert tuned.quality[f"perplexity{name}"] == pytest.approx(expected)
    after = weights(tiny_encoder)
    assert all(torch.equal(before[name], after[name]) for name in before)
    changed = weights(tuned.encoder)
    assert any(not torch.equal(before[name], changed[name]) for name in before)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_encoder):
    task = corpus()
    first, again, other = (
        tune_on_source(tiny_encoder, task, ONE_EPOCH.model_copy(update={"seed": seed}))
        for seed in (0, 0, 1)
    )
    one, two, three = (weights(tuned.encoder) for tuned in (first, again, other))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], three[name]) for name in one)
    assert first.quality == again.quality


def test_tuning_leaves_the_global_random_state_alone(tiny_encoder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tune_on_source(tiny_encoder, corpus(), ONE_EPOCH)
    assert torch.equal(torch.rand(3), expected)


def test_labelled_tasks_are_fine_tuned_as_ever(tiny_encoder):
    task = toy_task()
    expected, found = (tune(tiny_encoder, task, ONE_EPOCH) for tune in (fine_tune, tune_on_source))
    assert found.quality == expected.quality
    assert np.array_equal(found.head["weight"], expected.head["weight"])


def test_the_held_out_loss_is_the_mean_over_hidden_tokens(tmp_path, monkeypatch):
    """Against Transformers' own loss, all second tokens hidden, batches of unequal sizes."""
    save_tiny("bert", tmp_path)
    with seeded(7):
        whole = hf.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    whole.save_pretrained(tmp_path)
    encoder = Encoder.load(EncoderConfig(model=str(tmp_path), max_length=32), device="cpu")
    texts = [f"the {word} was very good" for word in ("food", "film", "team", "home", "sun")]
    monkeypatch.setattr("esm.language_model._JUDGED_AT_ONCE", 2)

    def second(allowed, share):
        chosen = torch.zeros_like(allowed)
        chosen[:, 2] = True
        return chosen

    mask = encoder.tokenizer.mask_token_id
    monkeypatch.setattr("esm.language_model.choose_tokens", second)
    language = LanguageModel(encoder)
    monkeypatch.setattr(language, "_corrupted", lambda ids, chosen: ids.masked_fill(chosen, mask))
    batch = encoder.tokenizer(texts, return_tensors="pt", padding=True)
    labels = torch.full_like(batch["input_ids"], -100)
    labels[:, 2] = batch["input_ids"][:, 2]
    batch["input_ids"][:, 2] = mask
    with torch.no_grad():
        expected = whole(**batch, labels=labels).loss
    found = held_out_loss(language, Texts(tuple(texts)), seed=0)
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_the_same_tokens_are_hidden_before_and_after(tiny_encoder):
    with seeded(0):
        language = LanguageModel(tiny_encoder)
    texts = Texts(corpus().train.texts)
    first, again, other = (held_out_loss(language, texts, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_texts_of_unknown_words_alone_cannot_be_learnt(tiny_encoder):
    with pytest.raises(FitError, match=r"none of .* held-out texts has a token"):
        tune_on_source(tiny_encoder, corpus(["☃ ☃", "☂", "☄ ☄ ☄", "☀"]), ONE_EPOCH)


def test_one_text_again_and_again_cannot_be_judged(tiny_encoder):
    with pytest.raises(TaskError, match=r"1 distinct training text; expected at least two"):
        tune_on_source(tiny_encoder, corpus(["the cat"] * 5), ONE_EPOCH)


def test_a_corpus_that_diverges_is_named(tiny_encoder):
    wild = FineTuneConfig(num_epochs=3, learning_rate=1e30)
    with pytest.raises(FitError, match=r"training on toy-corpus diverged"):
        tune_on_source(tiny_encoder, corpus(), wild)


def test_an_architecture_without_a_language_model_is_refused(tmp_path):
    folder = save_tiny("bart", tmp_path)
    encoder = Encoder.load(EncoderConfig(model=str(folder), max_length=32), device="cpu")
    with pytest.raises(EncoderError, match=r"'bart' has no language-model head"):
        tune_on_source(encoder, corpus(), ONE_EPOCH)
