"""Names and variants of the strategies of a comparison."""

from __future__ import annotations

import subprocess
import sys

import pytest

from esm.common.errors import ValidationError
from esm.strategies.registry import JOINT_STRATEGIES, STRATEGIES, check_name, strategy


@pytest.mark.parametrize("name", [*STRATEGIES, *JOINT_STRATEGIES])
def test_every_name_gives_its_strategy(name):
    found = strategy(name)
    assert found.name == name
    assert (found.separate or name) in STRATEGIES
    assert found.seed_varies


@pytest.mark.parametrize(
    "name",
    [
        "multitask:annealed",
        "multitask:sources:then-alone:square-root",
        "sequential:sources:searched",
        "ca-mtl:proportional",
        "ensemble:full",
    ],
)
def test_a_variant_keeps_its_full_name(name):
    assert strategy(name).name == name


def test_what_variants_change():
    assert strategy("multitask:sources").wants_sources
    assert not strategy("multitask").wants_sources
    assert strategy("ensemble:features").separate == "features"
    assert not strategy("full").together
    assert strategy("ca-mtl").together


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mutlitask", r"no strategy 'mutlitask'; expected one of .*houlsby.*multitask"),
        ("full:annealed", "full has no variant 'annealed'; expected full, which has no variants"),
        ("ca-mtl:sources", r"ca-mtl has no variant 'sources'; expected ca-mtl, with :proportional"),
        ("multitask:annealed:square-root", "cannot be annealed:square-root at once; expected one"),
        ("multitask:sources:sources", "cannot be sources:sources at once; expected each word once"),
    ],
)
def test_names_that_nothing_has(name, message):
    with pytest.raises(ValidationError, match=message):
        check_name(name)


def test_nothing_is_left_to_tune_on_alone_without_sources():
    with pytest.raises(ValidationError, match=r"trains on the target alone from the beginning"):
        strategy("multitask:then-alone")


def test_the_names_are_there_without_heavy_imports():
    code = (
        "import sys; from esm.strategies.registry import check_name as check;"
        "check('multitask:annealed');"
        "print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
