"""What strategies alone can be told: defaults, what is set, and clear refusals."""

from __future__ import annotations

import pytest
from pydantic import Field

from esm.common.errors import SettingError
from esm.common.records import Record
from esm.strategies.settings import TransferConfig


class Own(Record):
    rank: int = Field(default=8, ge=1)
    alpha: float = 4.0


def test_what_is_not_set_is_the_default_and_other_strategies_do_not_matter():
    config = TransferConfig(own={"lora.rank": "16", "lora2.alpha": "1"})
    assert config.own_settings("lora", Own) == Own(rank=16)
    assert config.own_settings("other", Own) == Own()


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            {"lora.rnk": 2},
            r"no setting 'lora\.rnk'; expected one of lora\.rank, lora\.alpha",
        ),
        ({"lora.rank": "0"}, r"rank = '0'; expected greater than or equal to 1"),
        ({"lora.alpha": "much"}, r"alpha = 'much'; expected a valid number"),
    ],
)
def test_what_cannot_be_is_refused(own, message):
    with pytest.raises(SettingError, match=message):
        TransferConfig(own=own).own_settings("lora", Own)
