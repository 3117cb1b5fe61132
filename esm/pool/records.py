"""What a pool's manifest and its entries say of themselves."""

from __future__ import annotations

from esm.common.records import Record
from esm.encoder.settings import BaseIdentity
from esm.maps.forms import MapForm
from esm.maps.published_config import PublishedConfig
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric, Problem, TaskMetadata
from esm.training.settings import FineTuneConfig

POOL_FORMAT = 1


class AnchorRecord(Record):
    """What the pool's maps were fitted on.

    Attributes:
        count: Number of anchor texts.
        hash: Hash over all anchor texts.
        corpus: File of a user's own unlabelled corpus, else None.
        per_task: Anchors drawn from each task, where there is no corpus.
        seed: Seed of the draw.
    """

    count: int
    hash: str
    corpus: str | None
    per_task: int
    seed: int


class LiftRecord(Record):
    """Identity of the shared PCA: its hash and its width p."""

    hash: str
    width: int


class PoolManifest(Record):
    """What all entries of a pool have in common.

    Attributes:
        format: Version of the pool's format.
        base: The base model.
        revision: Its Hub revision.
        anchors: What anchored maps were fitted on; None where all maps come from the Hub.
        lift: What anchored maps read; None where all maps come from the Hub.
    """

    format: int
    base: BaseIdentity
    revision: str | None
    anchors: AnchorRecord | None
    lift: LiftRecord | None


class MapRecord(Record):
    """How well a map fits.

    Attributes:
        rank: Rank of the learned part; the full width for a dense map.
        penalty: Ridge penalty chosen on held-out texts; 0 where none was used.
        r2_source: R² on held-out texts of the source task itself; None where it is not known.
        r2_anchors: R² on anchors of other tasks, held out where the fit used anchors; None where
            it is not known.
        bytes: Size of the weights on disk.
    """

    rank: int
    penalty: float
    r2_source: float | None
    r2_anchors: float | None
    bytes: int


class DeltaRecord(Record):
    """How well a delta stands for the tuned encoder.

    Attributes:
        hash: Hash of its tensors.
        budget: Bytes that it was allowed; None where it was not cut.
        bytes: Size on disk.
        r2_anchors: R² of its embeddings on anchors of other tasks, as that of a map.
        r2_source: The same on held-out texts of the source itself.
        left_out: Weights that tuning changed and it does not: embedding tables, and matrices of
            which no direction was worth its bytes.
    """

    hash: str
    budget: int | None
    bytes: int
    r2_anchors: float
    r2_source: float
    left_out: tuple[str, ...] = ()


class PublishedRecord(Record):
    """Where an entry that was fetched from the Hub comes from.

    Attributes:
        repo: Hub id of the map.
        commit: Commit that was fetched.
        generation: Generation of its ``config.json`` (see :mod:`esm.maps.published_config`).
        weights_hash: Hash of its weights file as the Hub states it: SHA-256, of small files git's.
        config: What its ``config.json`` states.
    """

    repo: str
    commit: str
    generation: int
    weights_hash: str
    config: PublishedConfig


class SourceRecord(Record):
    """What is known of one source task of a pool.

    Of an entry that was fetched from the Hub, only what its publisher states: no rows were seen.

    Attributes:
        id: The source task's id.
        config_hash: Hash of everything that determines the entry.
        task: How to read the task again; None where its publisher does not say.
        task_hash: Hash of the task's texts and labels; None where no rows were seen.
        problem: Kind of output; None where no rows were seen.
        metric: Primary metric; None where no rows were seen.
        label_names: Names of the classes.
        metadata: Language (as declared, else as detected), domain, licence and so on.
        is_pair: Whether each example is two texts.
        num_train: Training rows that the task has; None where no rows were seen.
        num_used: Training rows that fine-tuning used; None where it is not known.
        fine_tune: Settings of the fine-tuning, with which it can be repeated; the default where
            the publisher states none.
        quality: Performance of the tuned model on held-out rows of the source; of a corpus also
            that of the base model, ``log_likelihood_before``.
        maps: Fit of each stored map.
        seconds: Seconds of each step (fine_tune, embed, fit).
        num_cut: Training texts that were not read to their end, being longer than the base model
            takes.
        published: Where an entry that was fetched from the Hub comes from, else None.
        delta: Fit of its delta; None where it has none.
    """

    id: str
    config_hash: str
    task: TaskSpec | None
    task_hash: str | None
    problem: Problem | None
    metric: Metric | None
    label_names: tuple[str, ...]
    metadata: TaskMetadata
    is_pair: bool
    num_train: int | None
    num_used: int | None
    fine_tune: FineTuneConfig
    quality: dict[str, float]
    maps: dict[MapForm, MapRecord]
    seconds: dict[str, float]
    num_cut: int = 0
    published: PublishedRecord | None = None
    delta: DeltaRecord | None = None

    def fits(self) -> list[tuple[str, MapRecord | DeltaRecord]]:
        """Return how well each map fits, by form, and the delta."""
        maps: list[tuple[str, MapRecord | DeltaRecord]] = sorted(self.maps.items())
        return maps if self.delta is None else [*maps, ("delta", self.delta)]
