"""Several adapters in one encoder, and the route that hidden states take through them.

At each feed-forward block hang all adapters that there are; a route says which of them are
applied, one after another (a stack), or which fusion weighs all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from esm.encoder.encoder import Encoder
from esm.tasks.task import Outputs
from esm.training.heads import SharedEncoder
from esm.training.layers.bottlenecks import Bottleneck, feed_forward_projections
from esm.training.state import State

_DOWN = ".down.weight"
_ROUTED = "routed"


@dataclass
class Route:
    """Which way hidden states take; the places of an encoder share one and read it at each pass.

    Attributes:
        adapters: Numbers of the adapters that are applied, in this order.
        fusion: Number of the fusion that weighs all adapters instead; None for none.
        record: Whether the weights of the fusion are kept in ``weights``.
        weights: Per place and batch, the weights (b, t, n) of the adapters.
    """

    adapters: tuple[int, ...] = ()
    fusion: int | None = None
    record: bool = False
    weights: list[Tensor] = field(default_factory=list)


class Fusion(nn.Module):
    """Attention of a hidden state over what each adapter makes of it.

    With z_n what adapter n adds to the hidden state h, the weights are the softmax over n of
    ``(Q h) . (K z_n)`` and the output is ``h + sum of weight_n V z_n``. V starts as the identity,
    so that a fusion of one adapter starts as that adapter.

    Args:
        width: Width d of the encoder.
        std: Standard deviation of the initial Q and K.

    Source:
        Pfeiffer et al. 2021, "AdapterFusion: Non-Destructive Task Composition for Transfer
        Learning", section 3.2.
    """

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.query.weight, std=std)
        nn.init.normal_(self.key.weight, std=std)
        nn.init.eye_(self.value.weight)

    def weights(self, hidden: Tensor, added: Tensor) -> Tensor:
        """Return the weights of the adapters (b, t, n), which add up to 1.

        Args:
            hidden: (b, t, d).
            added: (b, t, n, d), what each adapter adds.
        """
        scores: Tensor = (self.key(added) * self.query(hidden)[..., None, :]).sum(dim=-1)
        return scores.softmax(dim=-1)

    def forward(self, hidden: Tensor, added: Tensor, weights: Tensor) -> Tensor:
        """Return fused hidden states (b, t, d)."""
        fused: Tensor = hidden + (weights[..., None] * self.value(added)).sum(dim=-2)
        return fused


class Place(nn.Module):
    """The adapters, and the fusions, at one feed-forward block.

    Args:
        width: Width d of the encoder.
        sizes: Width of each adapter.
        fusions: How many fusions there are.
        std: See :class:`Fusion`.
        route: Shared by all places.
    """

    def __init__(
        self, width: int, sizes: Sequence[int], fusions: int, std: float, route: Route
    ) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(Bottleneck(width, size) for size in sizes)
        self.fusions = nn.ModuleList(Fusion(width, std) for _ in range(fusions))
        self._route = route

    def forward(self, hidden: Tensor) -> Tensor:
        """Return hidden states (b, t, d) at the end of the route."""
        route = self._route
        if route.fusion is None:
            for number in route.adapters:
                hidden = self.adapters[number](hidden)
            return hidden
        fusion = cast(Fusion, self.fusions[route.fusion])
        added = torch.stack([adapter(hidden) - hidden for adapter in self.adapters], dim=-2)
        weights = fusion.weights(hidden, added)
        if route.record:
            route.weights.append(weights.detach())
        fused: Tensor = fusion(hidden, added, weights)
        return fused


class RoutedEncoder(SharedEncoder):
    """A frozen encoder with several adapters, and a head for every task.

    Args:
        encoder: Copied, never changed.
        tasks: What to predict, by name.
        sizes: Width of each adapter, by its name.
        fusions: Names of the tasks that have a fusion of all adapters.

    Attributes:
        route: The way that hidden states take.
    """

    def __init__(
        self,
        encoder: Encoder,
        tasks: Mapping[str, Outputs],
        sizes: Mapping[str, int],
        fusions: Sequence[str] = (),
    ) -> None:
        super().__init__(encoder, tasks)
        self.route = Route()
        self.adapter_names = tuple(sizes)
        self._fusions = tuple(fusions)
        self._routes: dict[str, tuple[tuple[int, ...], int | None]] = {}
        self.backbone.requires_grad_(False)
        width = encoder.width
        std = float(getattr(self.backbone.config, "initializer_range", 0.02))
        # They are part of the backbone, so that whatever trains it trains them.
        self._places: list[Place] = []
        for name in feed_forward_projections(self.backbone):
            place = Place(width, list(sizes.values()), len(self._fusions), std, self.route)
            projection = self.backbone.get_submodule(name)
            projection.add_module(_ROUTED, place)
            projection.register_forward_hook(_through)
            self._places.append(place)
        self.to(self.encoder.device)

    def go(self, *adapters: str, fusion: str | None = None) -> None:
        """Take this way from here on: adapters by name, one after another, or a fusion."""
        self.route.adapters = tuple(self.adapter_names.index(name) for name in adapters)
        self.route.fusion = None if fusion is None else self._fusions.index(fusion)

    def remember(self, task: str) -> None:
        """Predict a task by the present way from here on."""
        self._routes[task] = self.route.adapters, self.route.fusion

    def train_only(
        self, *, adapter: str | None = None, fusion: str | None = None, head: str | None = None
    ) -> None:
        """Let an adapter, a fusion and a head be trained, and nothing else."""
        self.requires_grad_(False)
        for place in self._places:
            if adapter is not None:
                place.adapters[self.adapter_names.index(adapter)].requires_grad_(True)
            if fusion is not None:
                place.fusions[self._fusions.index(fusion)].requires_grad_(True)
        if head is not None:
            self.head(head).requires_grad_(True)

    def predict(
        self, attribute: str, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> Any:
        """See :meth:`SharedEncoder.predict`; by the way that was remembered for the task."""
        self.route.adapters, self.route.fusion = self._routes[attribute]
        return super().predict(attribute, texts, pairs)

    def places(self) -> dict[str, Tensor]:
        """See :meth:`SharedEncoder.places`: heads, adapters and fusions."""
        heads = {
            f"heads.{number}.{name}": tensor
            for number, task in enumerate(self.names)
            for name, tensor in self.head(task).arrays().items()
        }
        return heads | {
            f"places.{number}.{name}": weight
            for number, place in enumerate(self._places)
            for name, weight in place.named_parameters()
        }

    def adapter_numbers(self, *names: str) -> int:
        """Return how many numbers some adapters have, or all of them."""
        chosen = [self.adapter_names.index(name) for name in names or self.adapter_names]
        return sum(
            weight.numel()
            for place in self._places
            for number in chosen
            for weight in place.adapters[number].parameters()
        )

    def fusion_numbers(self) -> int:
        """Return how many numbers all fusions have."""
        return sum(w.numel() for place in self._places for w in place.fusions.parameters())


def _through(projection: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    routed: Tensor = projection.get_submodule(_ROUTED)(output)
    return routed


def stored_sizes(state: State) -> dict[str, int]:
    """Return the width of each adapter of which a state was taken, by its number."""
    names = (name for name in state if name.startswith("places.0.adapters."))
    downs = {int(name.split(".")[3]): len(state[name]) for name in names if name.endswith(_DOWN)}
    return {str(number): downs[number] for number in sorted(downs)}
