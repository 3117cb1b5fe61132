"""Training and test rows: drawn, given, in folds, stored."""
