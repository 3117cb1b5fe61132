"""The registry: every name gives its strategy, and costs nothing until it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from transformers import BertConfig, FunnelConfig

from esm.common.errors import EncoderError, ValidationError
from esm.strategies.registry import STRATEGIES, check_own, strategy


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_name_gives_its_strategy(name):
    assert strategy(name).name == name


def test_a_name_that_is_not_known():
    with pytest.raises(ValidationError, match="'lor'; expected one of houlsby, pfeiffer"):
        strategy("lor")


def test_settings_of_strategies_that_are_not_used_are_refused():
    check_own(["lora.rank", "full.x"], ["full", "lora"])
    with pytest.raises(ValidationError, match=r"'lorra\.rank' is of no strategy in use; exp"):
        check_own(["lora.rank", "lorra.rank"], ["full", "lora"])


def test_the_names_are_there_without_heavy_imports():
    code = (
        "import sys; import esm.strategies.registry, esm.strategies.protocol;"
        "print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_known_base_model_is_accepted(name):
    strategy(name).check(BertConfig())


def test_only_adapters_need_to_know_the_architecture():
    for name in ("full", "features"):
        strategy(name).check(FunnelConfig())
    message = r"no adapter is known for the architecture 'funnel'; .*--strategy full or features"
    with pytest.raises(EncoderError, match=message):
        strategy("houlsby").check(FunnelConfig())


def test_every_strategy_says_what_its_seed_varies():
    varied = {name: strategy(name).seed_varies for name in STRATEGIES}
    assert "adapters" in varied["houlsby"]
    assert "adapters" not in varied["full"]
    assert "head" in varied["full"]
    assert "nothing for regression" in varied["features"]
