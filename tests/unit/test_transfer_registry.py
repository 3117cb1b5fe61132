"""The registry: every name gives its strategy, and costs nothing until it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from esm.errors import ValidationError
from esm.transfer.registry import STRATEGIES, strategy


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_name_gives_its_strategy(name):
    assert strategy(name).name == name


def test_a_name_that_is_not_known():
    with pytest.raises(ValidationError, match="'lora'; expected one of houlsby, full, features"):
        strategy("lora")


def test_the_names_are_there_without_heavy_imports():
    code = (
        "import sys; import esm.transfer.registry, esm.transfer.strategy;"
        "print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
