"""``esm compare``: strategies on the attributes of a target, side by side.

In the order of the flow: :mod:`~esm.comparison.config`, :mod:`~esm.comparison.choice` of the
sources, :mod:`~esm.comparison.plan`, :mod:`~esm.comparison.outside` predictions,
:mod:`~esm.comparison.cells` on disk, :mod:`~esm.comparison.models` that are kept,
:mod:`~esm.comparison.resample` and :mod:`~esm.comparison.significance`,
:mod:`~esm.comparison.result`, :mod:`~esm.comparison.run`.
"""
