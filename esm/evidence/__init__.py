"""Bayesian evidence of many maps at once, exactly, from one decomposition of the target.

The per-map computation in :mod:`esm.scorers.logme` decomposes a (d, d) matrix for every map. Here
the target is decomposed once (``target``); all maps are projected by matrix products
(``projection``); the evidence of each follows from small matrices of twice its rank (``curves``),
as a function of the prior's strength that is evaluated at shared nodes (``panels``); the
fixed-point iteration runs on those functions for all maps and label columns together
(``iteration``). Dense maps are tridiagonalised (``dense``). ``engine`` puts it together.
"""
