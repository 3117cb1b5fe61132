"""One transfer strategy per file, behind one protocol; ``registry`` names them."""
