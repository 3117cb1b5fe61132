"""LogME of many maps at once, exactly, from one decomposition of the target.

The computation per map (:mod:`esm.scorers.logme`) decomposes a (d, d) matrix for every map. Here
the target is decomposed once (``target``); all maps are projected by matrix products
(``projection``); the marginal likelihood of each follows from small systems of twice its rank
(``curves``), as functions of the prior's strength that are evaluated at shared nodes and
interpolated (``panels``); the fixed-point iteration (``rules``, ``iteration``) runs on these
functions for all maps and label columns together. Dense maps are tridiagonalised (``dense``).
``engine`` puts it together.
"""
