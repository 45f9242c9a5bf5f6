"""Attributes in the answers of a search: written by hand where most are, equal to protobuf's own JSON everywhere."""

import math

import pytest
from google.protobuf.json_format import MessageToDict

from stackctl.embedded.traces.otlp import any_value, key_value_json

VALUES = (
    "text",
    "",
    True,
    False,
    0,
    -(2**63),
    2**63 - 1,
    2**63,
    0.5,
    3.0,
    -0.0,
    math.nan,
    math.inf,
    ["a", 1],
    [],
    [[True], None, {"k": [0.5]}, b"bytes", math.nan],
    {"k": 2.5},
)


@pytest.mark.parametrize("value", [*VALUES, b"bytes", None], ids=repr)
def test_an_attribute_is_protobufs_json(value: object) -> None:
    """Each type of value reads as protobuf maps it: integers as text, NaN and infinity as words."""
    assert key_value_json("k", value) == {"key": "k", "value": MessageToDict(any_value(value))}
