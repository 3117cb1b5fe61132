"""What may spoil results: all that a look at the data can tell before anything is trained."""

from __future__ import annotations

import dataclasses

from esm.common.errors import TaskError
from esm.tasks.faults.findings import Finding, FindingKind
from esm.tasks.faults.labels import label_findings
from esm.tasks.faults.texts import text_findings
from esm.tasks.guess.propose import Proposal
from esm.tasks.load import load_target
from esm.tasks.spec import SplitMethod, SplitSpec, TaskSpec
from esm.tasks.task import Target


def inspect_target(target: Target, *, seed: int = 0) -> list[Finding]:
    """Return what may spoil results, of the whole target first, then attribute by attribute.

    Texts are compared without case, punctuation, web addresses and @handles. The search for
    near-duplicates takes most of the time: seconds for thousands of texts; of more than 20,000 it
    looks at a sample, and says so.

    Args:
        target: The target; where it is split into folds, all its rows as training rows.
        seed: Seed of the sample.
    """
    found = text_findings(target, seed)
    for name, task in target.attributes.items():
        found += label_findings(name, task)
    return found + [_unusable(name, reason) for name, reason in target.skipped.items()]


def inspect_proposal(proposal: Proposal, *, seed: int = 0) -> list[Finding]:
    """Return what may spoil results of the data as they are proposed to be read.

    No split is drawn or stored: unless a column says which rows are test rows, all rows are
    looked at together.

    Raises:
        TaskError: The file cannot be read.
    """
    spec = proposal.spec
    if not spec.attributes:
        # Why each is none stands in the proposal itself.
        reason = "no column looks like an attribute"
        hint = "give one of the columns what its reason says, or name it with --attribute"
        return [Finding(FindingKind.UNUSABLE, None, 1, reason, hint)]
    if spec.split.method is not SplitMethod.COLUMN:
        together = SplitSpec(method=SplitMethod.K_FOLD)
        spec = spec.model_copy(update={"split": together})
    try:
        return inspect_target(load_target(spec), seed=seed)
    except TaskError as error:
        return _one_by_one(spec, error, seed)


def _one_by_one(spec: TaskSpec, error: TaskError, seed: int) -> list[Finding]:
    """Return the findings of the attributes that can be loaded, and why the others cannot."""
    targets: list[Target] = []
    unusable: dict[str, str] = {}
    for name in spec.attributes:
        try:
            targets.append(load_target(spec.model_copy(update={"attributes": (name,)})))
        except TaskError as of_attribute:
            unusable[name] = str(of_attribute)
    if not targets:
        return [_unusable(None, str(error))]
    attributes = {name: task for one in targets for name, task in one.attributes.items()}
    target = dataclasses.replace(targets[0], attributes=attributes, skipped=unusable)
    return inspect_target(target, seed=seed)


def _unusable(attribute: str | None, reason: str) -> Finding:
    hint = "mend it as the reason says, or leave it out of the attributes"
    return Finding(FindingKind.UNUSABLE, attribute, 1, reason, hint)
