"""One transfer strategy per file, behind one protocol; :mod:`~esm.transfer.registry` names them."""
