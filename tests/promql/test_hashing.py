"""The hash by which limit_ratio chooses."""

import pytest

from stackctl.promql.hashing import share, xxh64


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_known_hashes(data: bytes, value: int) -> None:
    """The hash is xxHash64 with seed 0, for short and long inputs."""
    assert xxh64(data) == value


def test_shares_are_spread_evenly() -> None:
    """A tenth of many label sets lies in each tenth; empty labels and order do not count."""
    shares = sorted(share({"__name__": "m", "i": str(i)}) for i in range(2000))
    assert all(abs(shares[200 * tenth] - tenth / 10) < 0.03 for tenth in range(10))
    assert share({"b": "2", "a": "1", "c": ""}) == share({"a": "1", "b": "2"})
    assert 0 <= share({"long": "x" * 300}) < 1
