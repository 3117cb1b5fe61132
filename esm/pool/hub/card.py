"""The model card of a published map: what it is, how well it fits, on whose terms."""

from __future__ import annotations

import re
from dataclasses import dataclass

from esm.maps.files import MapConfig
from esm.maps.published_config import PublishedConfig
from esm.pool.hub.hub import ESM_TAG, is_repo
from esm.pool.pool import MapRecord, SourceRecord
from esm.tasks.licences import NOT_STATED, Terms, is_stated, licence_label, terms

# The Hub takes these names for the field "license"; anything else has to be "other".
_HUB_LICENCES = frozenset(
    {
        *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "wtfpl"),
        *("gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "mpl-2.0"),
        *("cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0"),
        *("cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0"),
        *("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0"),
        *("cc-by-nc-sa-4.0", "odc-by", "odbl", "pddl", "cdla-permissive-2.0", "eupl-1.1"),
    }
)
_LANGUAGE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes:
        repo: Hub id under which the map is published.
        record: What the pool knows of the source.
        fit: How well the map fits.
        config: Its description.
        peer: What hf-dataset-selector reads of it.
    """

    repo: str
    record: SourceRecord
    fit: MapRecord
    config: MapConfig
    peer: PublishedConfig


def model_card(facts: CardFacts) -> str:
    """Return the README of a published map, front matter included."""
    return f"---\n{_front_matter(facts)}\n---\n\n{_body(facts)}"


def _front_matter(facts: CardFacts) -> str:
    from huggingface_hub import ModelCardData

    base, dataset = facts.config.base_model, facts.peer.task_id or ""
    licence = facts.record.metadata.license
    known = _hub_licence(licence)
    languages = re.split(r"[,;\s]+", facts.record.metadata.language)
    data = ModelCardData(
        base_model=base,
        tags=[ESM_TAG, f"BaseLM:{base}"],
        datasets=[dataset] if is_repo(dataset) else None,
        language=[code for code in languages if _LANGUAGE.fullmatch(code)] or None,
        license=known or ("other" if is_stated(licence) else None),
        license_name=None if known or not is_stated(licence) else _slug(licence),
    )
    return str(data.to_yaml())


def _hub_licence(text: str) -> str | None:
    """Return the Hub's name of a licence; None where it has none."""
    name = re.sub(r"[\s_]+", "-", text.strip().lower())
    return name if name in _HUB_LICENCES else None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:60] or "other"


def _body(facts: CardFacts) -> str:
    record, peer = facts.record, facts.peer
    dataset = " ".join(filter(None, (peer.task_id, peer.task_subset)))
    rows = [
        ("Base model", f"{facts.config.base_model}, {_reading(facts.config)}"),
        ("Source task", f"{dataset} ({record.problem or 'kind not known'})"),
        ("Label column", peer.label_column or NOT_STATED),
        ("Training rows", str(record.num_used or NOT_STATED)),
        ("Language", record.metadata.language or NOT_STATED),
        ("Licence of the data", licence_label(record.metadata.license)),
        ("Fine-tuning", _fine_tuning(record)),
        *((f"Held-out {name}", f"{value:.3f}") for name, value in sorted(record.quality.items())),
        ("R² on held-out texts of the source", _share(facts.fit.r2_source)),
        ("R² on texts of other tasks", _share(facts.fit.r2_anchors)),
        ("Numbers", f"{facts.config.width} x {facts.config.width} + {facts.config.width}, stored as"
         f" {facts.config.dtype}"),
    ]  # fmt: skip
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return _TEMPLATE.format(
        title=dataset or record.id,
        table=table,
        base=facts.config.base_model,
        repo=facts.repo,
        terms=_terms(record.metadata.license),
    )


def _reading(config: MapConfig) -> str:
    base = config.base
    return "" if base is None else f"{base.pooling} pooling, {base.max_length} tokens"


def _fine_tuning(record: SourceRecord) -> str:
    settings = record.fine_tune
    return (
        f"AdamW, {settings.num_epochs} epochs, batches of {settings.batch_size}, learning rate"
        f" {settings.learning_rate:g}, weight decay {settings.weight_decay:g}, seed {settings.seed}"
    )


def _share(value: float | None) -> str:
    return NOT_STATED if value is None else f"{value:.2f}"


def _terms(text: str) -> str:
    if not is_stated(text):
        return (
            "The data do not state a licence. Ask their owners before you use this map for more"
            " than research."
        )
    match terms(text):
        case Terms.NON_COMMERCIAL:
            return (
                f"The data are licensed for **non-commercial use only** ({text}). This map was"
                " made from a model trained on them: use it on the same terms."
            )
        case Terms.UNKNOWN:
            return (
                f"The data are licensed as: {text}. Whether this allows commercial use is not"
                " clear; the map is published on the same terms."
            )
        case Terms.COMMERCIAL:
            return f"The data are licensed under {text}; the map is published on the same terms."


_TEMPLATE = """\
# Embedding Space Map: {title}

This map predicts what a language model fine-tuned on one dataset would make of a text, from the
embedding that the base model makes of it: `tuned ≈ W · base + b`. Maps serve to find out, before
any training, on which dataset a model should be fine-tuned first (Schulte, Hamborg and Akbik 2024,
[Less is More: Parameter-Efficient Selection of Intermediate Tasks for Transfer
Learning](https://arxiv.org/abs/2410.15148)).

| | |
|---|---|
{table}

R² is the share of the variance of the fine-tuned model's embeddings that the map explains.

## Terms

{terms}

## How to use it

With `esm-transfer`, which ranks all published maps of a base model for a dataset of your own:

```bash
esm pool pull --base {base} --pool maps
esm rank posts.csv --pool maps
```

With `hf-dataset-selector`:

```python
from hfselect import ESM

esm = ESM.from_pretrained("{repo}")
```

The weights are two tensors in `model.safetensors`, `model.weight` and `model.bias`.
"""
