"""The fixed-point iteration of LogME, as its reference runs it, and where a maximum is looked for.

You et al., "Ranking and Tuning Pre-trained Models" (arXiv 2110.10545); thuml/LogME at
56551ca94a3295bcc37e6a01b1291911af985f07.
"""

from __future__ import annotations

import sys

# hf-dataset-selector allows 50 updates of alpha and beta.
MAX_UPDATES = 11

# Iteration stops where alpha / beta moves by no more than this share.
TOLERANCE = 1e-3

# Added to the squared norm of the weights and to the residual before dividing by them.
REFERENCE_EPSILON = 1e-5

# Keeps logarithms and ratios finite where features or residuals vanish altogether.
SMALLEST = sys.float_info.min

# At least this share of a label column's sum of squares counts as noise. Without it the evidence
# has no maximum where labels are fitted exactly, as those of repeated texts can be.
NOISE_FLOOR = 1e-9
