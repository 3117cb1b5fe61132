"""What was trained, as arrays by name."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

State = dict[str, npt.NDArray[Any]]
"""What was trained, by name: ``head.`` arrays and, where the encoder changed, ``encoder.`` ones.

``head.weight`` is (c, d), ``head.bias`` (c,), ``head.label_mean`` and ``head.label_scale`` (1,);
outputs are ``(embeddings @ weight.T + bias) * label_scale + label_mean``. Strategies that need
more to restore a model name it after themselves.
"""
