"""Embedding Space Maps: forms, files, anchors, the lift, and how maps are fitted."""
