"""Which scorers there are, by the name under which ``esm rank --scorer`` takes them."""

from __future__ import annotations

from collections.abc import Mapping

from esm.common.errors import SettingError
from esm.scorers.base import EmbeddingKind, Scorer
from esm.scorers.chance import Chance
from esm.scorers.fused import Fused
from esm.scorers.hscore import HScore
from esm.scorers.knn import Knn
from esm.scorers.leep import Leep
from esm.scorers.logme import LogME
from esm.scorers.logme_pool import PoolLogME
from esm.scorers.names import OF_EITHER, OF_HEADS
from esm.scorers.names import ScorerName as ScorerName
from esm.scorers.nce import Nce
from esm.scorers.probe import Probe
from esm.scorers.size import Size
from esm.scorers.static import Static
from esm.scorers.taskemb import TaskEmb
from esm.scorers.textemb import TextEmb
from esm.scorers.vocab import Vocab

Results = Mapping[str, Mapping[str, float]]
"""Performance by target id and source id."""


def make_scorer(
    name: ScorerName,
    *,
    embeddings: EmbeddingKind | None = None,
    all_tuned: bool = False,
    results: Results | None = None,
) -> Scorer:
    """Return a scorer by name.

    Args:
        name: The scorer.
        embeddings: What stands for a source, where the scorer leaves that open: for ``knn``,
            ``hscore``, ``leep`` and ``nce``. None takes mapped embeddings for ``knn``, tuned ones
            for ``hscore``, and for a source head tuned ones if ``all_tuned``, else mapped ones.
        all_tuned: Whether all sources keep a delta or their tuned encoder. A ranking does not mix
            the two kinds: scores on them are not comparable.
        results: Measured results, for ``static``.

    Raises:
        SettingError: Embeddings are given that the scorer does not leave open, or results are
            missing, or given to a scorer that does not read them.
    """
    if embeddings is not None and name not in OF_EITHER:
        raise SettingError(
            f"--embeddings {embeddings} for scorer {name}",
            expected=f"one of {', '.join(OF_EITHER)}; the others read what their name says",
        )
    if (results is not None) != (name is ScorerName.STATIC):
        got = "without" if results is None else "with"
        raise SettingError(
            f"scorer {name} {got} measured results",
            expected="--results TABLE with --scorer static, and with no other",
        )
    if name in OF_HEADS:
        of_heads = EmbeddingKind.TUNED if all_tuned else EmbeddingKind.MAPPED
        kind = embeddings or of_heads
        return Leep(kind) if name is ScorerName.LEEP else Nce(kind)
    if results is not None:
        return Static(results)
    if name is ScorerName.FUSED:
        return Fused.packaged()
    made: dict[ScorerName, Scorer] = {
        ScorerName.LOGME: PoolLogME(),
        ScorerName.TUNED_LOGME: LogME("tuned-logme", EmbeddingKind.TUNED),
        ScorerName.PROBE: Probe(),
        ScorerName.FROZEN: Probe("frozen", EmbeddingKind.TUNED),
        ScorerName.KNN: Knn(embeddings or EmbeddingKind.MAPPED),
        ScorerName.HSCORE: HScore(embeddings or EmbeddingKind.TUNED),
        ScorerName.TEXTEMB: TextEmb(),
        ScorerName.TASKEMB: TaskEmb(),
        ScorerName.VOCAB: Vocab(),
        ScorerName.SIZE: Size(),
        ScorerName.RANDOM: Chance(),
    }
    return made[name]
