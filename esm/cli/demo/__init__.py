"""The demo: generated tasks whose right answer is known, and the guided run over them."""
