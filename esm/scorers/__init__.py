"""One estimator of transferability per file, behind one protocol."""
