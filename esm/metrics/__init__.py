"""How good predictions and rankings are; every measure is defined once."""
