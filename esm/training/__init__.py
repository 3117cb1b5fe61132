"""One training run: the loop, losses, schedules, heads, trainable layers."""
