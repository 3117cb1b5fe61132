"""The parts that make a BERT-like encoder depend on the task: CA-MTL's conditional modules.

Each hangs on a module of the encoder by a hook and reads the task's embedding from a
:class:`Condition`; the names of the encoder's own weights stay what they were.

Source:
    Pilault, Elhattami and Pal 2021, "Conditionally Adaptive Multi-Task Learning: Improving
    Transfer Learning in NLP Using Fewer Parameters & Less Data" (arXiv 2009.09139), section 2,
    read beside the published code (github.com/CAMTL/CA-MTL). What differs is said at each part:
    mostly, all of them start out as near to the pretrained encoder as the random task embeddings
    let them, because here there are hundreds of rows, not hundreds of thousands.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm
from transformers import PreTrainedConfig, PreTrainedModel

from esm.common.errors import EncoderError
from esm.training.layers.architectures import check_known

BLOCK = 22
"""Positions in a block of the attention matrix: 128 in 6 blocks, as for BERT base in the paper."""

_ADDITIVE = ("eager", "sdpa")


class Condition:
    """The task embeddings of the rows that go through the encoder.

    Attributes:
        z: (b, d), one per row, or (1, d) for all rows; None before the first batch.
    """

    z: Tensor | None = None

    def get(self) -> Tensor:
        """Return the embeddings.

        Raises:
            EncoderError: The encoder is used without saying for which task.
        """
        if self.z is None:
            raise EncoderError("no task was set", expected="a task, on which the encoder depends")
        return self.z


class Modulation(nn.Module):
    """Scale and shift a tensor by the task: ``(1 + gamma(z)) x + beta(z)``, both linear in z.

    Args:
        width: d, of the task embeddings.
        size: Last dimension of what is modulated.
        std: Standard deviation of the initial weights.

    Source:
        Perez et al. 2018, "FiLM", as the conditional modules use it.
    """

    def __init__(self, width: int, size: int, std: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * size)
        nn.init.normal_(self.linear.weight, std=std)
        nn.init.zeros_(self.linear.bias)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift, (b, size) each."""
        gamma, beta = self.linear(z).chunk(2, dim=-1)
        return 1.0 + gamma, beta


class ConditionalAttention(nn.Module):
    """A matrix M(z), block-diagonal over positions, that is added to the scores of all heads.

    ``softmax(M(z) + Q K' / sqrt(d))``, with blocks ``A_n gamma(z) + beta(z)``; a position is only
    moved towards or away from positions of its own block. A_n starts at zero. One modulation
    serves all blocks, as in the published code.

    Args:
        width: d, of the task embeddings.
        positions: L, the most tokens of an input.
        std: Standard deviation of the modulation's initial weights.
    """

    def __init__(self, width: int, positions: int, std: float) -> None:
        super().__init__()
        self.size = min(BLOCK, -(-positions // 2))  # at least two blocks
        count = -(-positions // self.size)
        self.blocks = nn.Parameter(torch.zeros(count, self.size, self.size))
        self.modulation = Modulation(width, self.size, std)

    def forward(self, z: Tensor, length: int) -> Tensor:
        """Return M(z) for the first positions, (b, length, length).

        Args:
            z: (b, d).
            length: How many positions the batch has.
        """
        gamma, beta = self.modulation(z)
        rows = []
        for number in range(-(-length // self.size)):
            block = self.blocks[number] * gamma[:, None, :] + beta[:, None, :]  # (b, size, size)
            left = number * self.size
            after = max(0, length - left - self.size)
            inside = block[:, : length - left, : length - left]
            rows.append(nn.functional.pad(inside, (left, after)))
        return torch.cat(rows, dim=1)


class ConditionalAlignment(nn.Module):
    """Turn the embedding layer's output by a matrix R, then modulate it by the task.

    R starts as the identity.
    """

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.eye(width))
        self.modulation = Modulation(width, width, std)

    def forward(self, hidden: Tensor, z: Tensor) -> Tensor:
        """Return (b, t, d) aligned hidden states."""
        gamma, beta = self.modulation(z)
        aligned: Tensor = (hidden @ self.turn) * gamma[:, None] + beta[:, None]
        return aligned


class ConditionalNorm(nn.Module):
    """A layer norm whose weight is modulated by the task; its bias is not, as published."""

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.modulation = Modulation(width, width, std)

    def forward(self, norm: nn.LayerNorm, hidden: Tensor, z: Tensor) -> Tensor:
        """Return (b, t, d) normed hidden states, by the norm's own weight and bias."""
        gamma, beta = self.modulation(z)
        weight = norm.weight * gamma + beta
        plain = layer_norm(hidden, norm.normalized_shape, eps=norm.eps)
        normed: Tensor = plain * weight[:, None] + norm.bias
        return normed


class ConditionalBottleneck(nn.Module):
    """A bottleneck a third as wide, on the top layer, that sees hidden states as the task does.

    ``h + up(down(modulated h))``. The up-projection starts at zero, so that the top layer stays
    what it was until it is trained; the published code has random weights, and a norm after it.
    """

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.modulation = Modulation(width, width, std)
        self.down = nn.Linear(width, max(width // 3, 1))
        self.up = nn.Linear(max(width // 3, 1), width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor, z: Tensor) -> Tensor:
        """Return (b, t, d) hidden states."""
        gamma, beta = self.modulation(z)
        modulated = hidden * gamma[:, None] + beta[:, None]
        adapted: Tensor = hidden + self.up(self.down(modulated))
        return adapted


class ConditionalParts(nn.Module):
    """All that is added to an encoder.

    Conditional attention in every layer, alignment behind the embeddings, conditional norms in the
    upper half of the layers, a conditional bottleneck on the top one.

    Args:
        model: A BERT-like backbone; hooks are put on it.
        num_tasks: How many tasks there are.
        positions: The most tokens of an input.

    Attributes:
        condition: Where the task embeddings of a batch are put before the encoder is used.
        tasks: The task embeddings.

    Raises:
        EncoderError: The architecture is another one.
    """

    def __init__(self, model: PreTrainedModel, num_tasks: int, positions: int) -> None:
        super().__init__()
        check_bert_like(model.config)
        width = int(model.config.hidden_size)
        std = float(model.config.initializer_range)
        encoder = layers_of(model)
        frozen = len(encoder) // 2
        self.condition = Condition()
        self.tasks = nn.Embedding(num_tasks, width)
        nn.init.normal_(self.tasks.weight, std=std)
        self.alignment = ConditionalAlignment(width, std)
        self.attention = nn.ModuleList(ConditionalAttention(width, positions, std) for _ in encoder)
        self.norms = nn.ModuleList(
            ConditionalNorm(width, std) for _ in range(2 * (len(encoder) - frozen))
        )
        self.bottleneck = ConditionalBottleneck(width, std)
        self._hang(model, encoder, frozen)

    def _hang(self, model: PreTrainedModel, layers: list[nn.Module], frozen: int) -> None:
        model.get_submodule("embeddings").register_forward_hook(self._align)
        for layer, part in zip(layers, self.attention, strict=True):
            attention = cast(ConditionalAttention, part)
            layer.get_submodule("attention.self").register_forward_pre_hook(
                self._attend(attention), with_kwargs=True
            )
        norms = [
            layer.get_submodule(name)
            for layer in layers[frozen:]
            for name in ("attention.output.LayerNorm", "output.LayerNorm")
        ]
        for norm, part in zip(norms, self.norms, strict=True):
            norm.register_forward_hook(self._norm(cast(ConditionalNorm, part)))
        layers[-1].get_submodule("output").register_forward_hook(self._narrow)

    def _align(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        aligned: Tensor = self.alignment(output, self.condition.get())
        return aligned

    def _narrow(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        adapted: Tensor = self.bottleneck(output, self.condition.get())
        return adapted

    def _attend(self, part: ConditionalAttention) -> Any:
        def add(module: nn.Module, arguments: Any, named: dict[str, Any]) -> Any:
            hidden = arguments[0] if arguments else named["hidden_states"]
            added = part(self.condition.get(), hidden.shape[1])[:, None].to(hidden.dtype)
            return arguments, named | {
                "attention_mask": with_mask(added, named.get("attention_mask"))
            }

        return add

    def _norm(self, part: ConditionalNorm) -> Any:
        def condition(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            normed: Tensor = part(cast(nn.LayerNorm, module), inputs[0], self.condition.get())
            return normed

        return condition


def with_mask(added: Tensor, mask: Tensor | None) -> Tensor:
    """Return what is added to attention scores together with the mask of the padding.

    Args:
        added: (b, 1, t, t).
        mask: None, booleans that are true where attention is allowed, or numbers to add.
    """
    if mask is None:
        return added
    if mask.dtype is torch.bool:
        lowest = torch.finfo(added.dtype).min
        return added.masked_fill(~mask, lowest)
    # A padded position has the lowest number there is; adding to it may make it infinite.
    return (added + mask).clamp(min=torch.finfo(added.dtype).min)


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """Return the layers of a BERT-like encoder, from the lowest to the highest."""
    return list(cast(nn.ModuleList, model.get_submodule("encoder.layer")))


def freeze_lower_half(model: PreTrainedModel) -> None:
    """Freeze embeddings and the lower half of the layers, as in the paper."""
    layers = layers_of(model)
    for module in (model.get_submodule("embeddings"), *layers[: len(layers) // 2]):
        module.requires_grad_(False)


def check_bert_like(config: PreTrainedConfig) -> None:
    """Refuse an architecture whose attention and norms are not where BERT has them.

    Raises:
        EncoderError: It is another one.
    """
    check_known(
        config,
        "ca-mtl has no conditional modules for the architecture {}",
        lambda one: one.is_conditional,
        "--strategy multitask, or another base model",
    )
    attention = getattr(config, "_attn_implementation", None)
    if attention not in (None, *_ADDITIVE):
        raise EncoderError(
            f"ca-mtl adds to the attention's scores, which {attention!r} attention does not take",
            expected=f"one of {', '.join(_ADDITIVE)}",
            hint="load the base model with another attention",
        )
