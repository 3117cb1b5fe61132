"""Put arrays that were kept back into the tensors of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esm.common.errors import EncoderError


def load_weights(
    places: Mapping[str, Tensor], state: Mapping[str, npt.NDArray[Any]], what: str
) -> None:
    """Copy arrays into tensors of the same names.

    Args:
        places: Where they go.
        state: What was kept.
        what: What they were trained for, for the message.

    Raises:
        EncoderError: Names or shapes differ, or a number is not finite. Nothing is changed then.
    """
    wanted = {name: tuple(place.shape) for name, place in places.items()}
    found = {name: array.shape for name, array in state.items()}
    differing = sorted(name for name, _ in wanted.items() ^ found.items())
    differing += [name for name, array in state.items() if not np.isfinite(array).all()]
    if differing:
        raise EncoderError(
            f"the trained weights of {what} do not fit: {differing[0]} is"
            f" {found.get(differing[0], 'absent')}",
            expected=f"finite numbers, {wanted.get(differing[0], 'no such weights')}",
            hint="train again, with the same base model",
        )
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(torch.from_numpy(np.asarray(state[name])))
