"""The anchor texts of a pool, read again from where they came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from esm.common.errors import TaskError
from esm.common.storage import read_json
from esm.maps.anchors import AnchorRef, Anchors, corpus_anchors, restore_anchors
from esm.pool.pool import Pool
from esm.tasks.load import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Task


def restore_pool_anchors(pool: Pool, tasks: Sequence[Task] = ()) -> Anchors:
    """Read the texts of a pool's anchors again from where they came.

    Args:
        pool: The pool, which holds references only.
        tasks: Tasks already in memory, so that they are not read twice.

    Raises:
        TaskError: A task the anchors came from is gone or has changed.
    """
    record, _ = pool.common()
    if record.corpus is not None:
        anchors = corpus_anchors(Path(record.corpus), seed=record.seed)
    else:
        stored = read_json(pool.folder / "anchors.json")
        at_hand = {task.id: task for task in tasks}
        read = [
            at_hand[name] if name in at_hand else load_task(TaskSpec.model_validate(spec))
            for name, spec in stored["tasks"].items()
        ]
        refs = [AnchorRef.model_validate(ref) for ref in stored["anchors"]]
        anchors = restore_anchors(refs, read)
    if anchors.content_hash() != record.hash:
        raise TaskError(
            f"the anchor texts of pool {pool.folder} have changed since it was made",
            expected=f"{record.count} texts with hash {record.hash[:12]}",
            hint="restore the data they came from, or train another pool",
        )
    return anchors
