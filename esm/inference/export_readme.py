"""The README of an exported model: what it is, and the code that labels texts with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template

from esm.encoder.settings import Pooling
from esm.tasks.task import Problem

_POOLED = {
    Pooling.MEAN: "(hidden * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)",
    Pooling.CLS: "hidden[:, 0]",
    Pooling.LAST: "hidden[torch.arange(len(hidden)), mask.sum(dim=1) - 1]",
    Pooling.POOLER: "output.pooler_output",
}

_ADAPTERS = """

class Adapter(torch.nn.Module):  # Houlsby et al. 2019
    def __init__(self, width, size):
        super().__init__()
        self.down = torch.nn.Linear(width, size)
        self.up = torch.nn.Linear(size, width)

    def forward(self, hidden):
        return hidden + self.up(torch.nn.functional.gelu(self.down(hidden)))


def add_adapters(encoder, state):
    for name, weight in state.items():
        if name.endswith(".adapter.down.weight"):
            path = name.removeprefix("encoder.").removesuffix(".adapter.down.weight")
            place = encoder.get_submodule(path)
            place.add_module("adapter", Adapter(weight.shape[1], weight.shape[0]))
            place.register_forward_hook(lambda module, _, output: module.adapter(output))
"""

_TEXTS = "texts[start : start + batch_size]"
_PREFIXED = f'[about["prefix"] + t for t in {_TEXTS}]'

_SECOND_TEXTS = """
            columns.append([about["between"] + t for t in pairs[start : start + batch_size]])"""

# A long text is read in overlapping chunks: its embedding is their mean, weighted by their tokens.
_CHUNK_OPTIONS = """
                stride=about["stride"],
                return_overflowing_tokens=True,"""

_CHOOSE_CHUNKS = """
            owners = batch.pop("overflow_to_sample_mapping").tolist()
            first = {owner: owners.index(owner) for owner in owners}
            kept = [i for i, o in enumerate(owners) if i - first[o] < about["max_chunks"]]
            batch = {name: batch[name][kept] for name in tokenizer.model_input_names}"""

_JOIN_CHUNKS = """
            own = mask.sum(dim=1) - tokenizer.num_special_tokens_to_add()
            shares = torch.zeros(len(columns[0]), len(kept))
            shares[[owners[i] for i in kept], range(len(kept))] = own.clamp(min=1).float()
            embedding = shares / shares.sum(dim=1, keepdim=True) @ embedding"""

_HIDDEN_LAYER = """
            embedding = torch.tanh(embedding @ head["hidden.weight"].T + head["hidden.bias"])"""

_CODE = Template("""\
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
$imports

folder = Path(".")  # where this README lies
about = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
$adapters

def part(state, name):
    return {k.removeprefix(name): v for k, v in state.items() if k.startswith(name)}


def load(model):
    path = folder / model["encoder"]
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="right")
    encoder = $loader.from_pretrained(path, dtype=torch.float32$options)
    state = load_file(folder / model["file"])$add_adapters
    found = encoder.load_state_dict(part(state, "encoder."), strict=False)
    assert not found.unexpected_keys
    head = {name: weight.double() for name, weight in part(state, "head.").items()}
    return tokenizer, encoder.eval(), head


@torch.inference_mode()
def predict(texts$pairs, batch_size=32):
    total = 0.0
    for model in about["models"]:  # they vote: the mean of what they say
        tokenizer, encoder, head = load(model)
        outputs = []
        for start in range(0, len(texts), batch_size):
            columns = [$texts]$second_texts
            batch = tokenizer(
                *columns,
                truncation=True,
                max_length=about["max_length"],
                padding=True,
                return_tensors="pt",$chunk_options
            )$choose_chunks
            output = encoder(**batch, return_dict=True)
            hidden, mask = output.last_hidden_state, batch["attention_mask"]
            embedding = $pooled$join_chunks
            embedding = embedding.double()$hidden_layer
            values = embedding @ head["weight"].T + head["bias"]
            outputs.append(values * head["label_scale"] + head["label_mean"])
        outputs = torch.cat(outputs)
        total = total + $chances
    return total / len(about["models"])

$example""")

_SOFTMAX = 'torch.softmax(outputs / model["temperature"], dim=1)'
_SIGMOID = 'torch.sigmoid(outputs / model["temperature"])'

_CLASS = """
chances = predict($texts)  # a row per text, a column per class
for row in chances:
    print(about["label_names"][int(row.argmax())], f"{float(row.max()):.3f}")"""

_LABELS = """
chances = predict($texts)  # a row per text, a column per label
for row in chances:
    print([name for name, chance in zip(about["label_names"], row) if chance > 0.5])"""

_RANK = """
names = about["label_names"]  # from the lowest to the highest
for value in predict($texts)[:, 0]:
    print(names[int(value.round().clamp(0, len(names) - 1))])"""

_VALUE = """
print(predict($texts)[:, 0].tolist())"""

_PAGE = Template("""\
# $title

$about

| file | what it is |
| --- | --- |
| `$folders` | $encoder, with its tokenizer, in the format of Transformers |
| `model-*.safetensors` | what was trained on the labels: `encoder.*` goes into the encoder, \
`head.*` is the head |
| `labels.json` | names of the labels, temperatures, length of the texts |

Python 3.10 or newer with `torch`, `transformers` (made with $version) and `safetensors` will do:

```python
$code
```

$notes
""")


@dataclass(frozen=True)
class Code:
    """What the code of a README depends on.

    Attributes:
        module: Module of the class that loads the encoder.
        loader: Name of this class.
        without_pooler: Whether to tell it that there is no pooling layer.
        pooling: How tokens become one vector.
        problem: Kind of output.
        has_names: Whether its outputs have names.
        has_adapters: Whether the encoder has adapters.
        has_hidden_layer: Whether the head has a layer before the linear one.
        is_pair: Whether it takes two texts.
        in_chunks: Whether a long text is read in several chunks.
        prefixed: Whether something stands before every text.
    """

    module: str
    loader: str
    without_pooler: bool
    pooling: Pooling
    problem: Problem
    has_names: bool
    has_adapters: bool
    has_hidden_layer: bool
    is_pair: bool
    in_chunks: bool
    prefixed: bool = False

    def text(self) -> str:
        """Return a program that loads the model beside it and labels a text, without ``esm``."""
        if self.module == "transformers":
            imports = f"from transformers import {self.loader}, AutoTokenizer"
        else:
            imports = (
                f"from transformers import AutoTokenizer\nfrom {self.module} import {self.loader}"
            )
        texts = '["a text"], ["its second text"]' if self.is_pair else '["a text"]'
        chances, example = self._decision()
        return _CODE.substitute(
            imports=imports,
            loader=self.loader,
            options=", add_pooling_layer=False" if self.without_pooler else "",
            adapters=_ADAPTERS if self.has_adapters else "",
            add_adapters="\n    add_adapters(encoder, state)" if self.has_adapters else "",
            pairs=", pairs" if self.is_pair else "",
            texts=_PREFIXED if self.prefixed else _TEXTS,
            second_texts=_SECOND_TEXTS if self.is_pair else "",
            chunk_options=_CHUNK_OPTIONS if self.in_chunks else "",
            choose_chunks=_CHOOSE_CHUNKS if self.in_chunks else "",
            join_chunks=_JOIN_CHUNKS if self.in_chunks else "",
            hidden_layer=_HIDDEN_LAYER if self.has_hidden_layer else "",
            pooled=_POOLED[self.pooling],
            chances=chances,
            example=Template(example).substitute(texts=texts),
        )

    def _decision(self) -> tuple[str, str]:
        """Return how outputs become what is averaged, and how that becomes labels."""
        if self.problem is Problem.CLASSIFICATION:
            return _SOFTMAX, _CLASS
        if self.problem is Problem.MULTILABEL:
            return _SIGMOID, _LABELS
        return "outputs", _RANK if self.has_names else _VALUE


def page(
    title: str, about: str, code: Code, *, folders: str, encoder: str, version: str, notes: str
) -> str:
    """Return the README.

    Args:
        title: Name of the task.
        about: What the model predicts, what it was trained on, how well it does.
        code: What the code depends on.
        folders: Names of the folders with encoders.
        encoder: What the encoder is.
        version: Version of Transformers.
        notes: What a user has to know of the predictions.
    """
    return _PAGE.substitute(
        title=title,
        about=about,
        code=code.text(),
        folders=folders,
        encoder=encoder,
        version=version,
        notes=notes,
    )


def join_names(names: Sequence[str]) -> str:
    """Return names as a list in a sentence.

    Example:
        >>> listed(["yes", "no", "perhaps"])
        '`yes`, `no` and `perhaps`'
    """
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
