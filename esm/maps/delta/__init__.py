"""Source deltas: what tuning on a source changed in the weights, in a fraction of their bytes."""
