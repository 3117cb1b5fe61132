"""Where a task lies and how to read it: everything a run must remember to read it again."""

from __future__ import annotations

from pathlib import Path

from esm.records import Record


class TaskSpec(Record):
    """Location and reading of a task or a multi-attribute target.

    Attributes:
        location: A task folder, a multi-attribute target folder, a file (.csv, .tsv, .jsonl,
            .parquet), or a Hub dataset id such as ``owner/name``.
        id: Name to give it; by default the one in the folder's description, the file's stem or the
            Hub id with its configuration, ``/`` written ``--``.
        text: Text column.
        text_pair: Second text column of a pair task.
        attributes: Label columns; empty means all that the data offer.
        reading: ``"as-is"``, or the name of a label reading in ``target.json`` (``"binary"``).
        kind: ``"auto"``, or a :class:`~esm.tasks.task.Problem` that overrides the guess.
        test: File with the test rows, read with the same columns.
        config: Hub configuration name.
        revision: Hub revision; a commit hash pins the data.
        train_split: Hub split to use for training.
        test_split: Hub split to use as test.
        split_seed: Seed of the split made for data that come without one.
    """

    location: str
    id: str | None = None
    text: str | None = None
    text_pair: str | None = None
    attributes: tuple[str, ...] = ()
    reading: str = "as-is"
    kind: str = "auto"
    test: str | None = None
    config: str | None = None
    revision: str | None = None
    train_split: str | None = None
    test_split: str | None = None
    split_seed: int = 0

    @property
    def path(self) -> Path:
        """The location as a path."""
        return Path(self.location)
