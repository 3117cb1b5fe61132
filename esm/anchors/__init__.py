"""The texts on which all maps of a pool are fitted, and the lift of their wide features.

A map fitted on the source's own texts does not carry over to the target's texts; fitted on texts
from many tasks it does. Every tuned model embeds the same anchors, so maps are comparable.
"""

from esm.anchors.lift import Lift
from esm.anchors.texts import (
    AnchorRef,
    Anchors,
    corpus_anchors,
    draw_anchors,
    restore_anchors,
)

__all__ = ["AnchorRef", "Anchors", "Lift", "corpus_anchors", "draw_anchors", "restore_anchors"]
