"""The transform that names the partitions, read back; `test_streams.py` asks the real server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.partitioning import (
    DEFAULT_PARTITIONS,
    OtherPartitions,
    partition_of,
    partitions_in,
    same_partitions,
    transform,
)
from shared.streams import stream_configs

COUNTS = st.integers(1, 256)


@given(COUNTS)
def test_the_transform_says_how_many_partitions_there_are(count: int) -> None:
    assert partitions_in(transform(count)) == count


@pytest.mark.parametrize(
    "other",
    [
        "",
        "p.{{partition(16)}}.{{wildcard(1)}}",
        "p.{{partition(16,1)}}.{{wildcard(1)}}.{{wildcard(2)}}",
        "q.{{partition(16)}}.{{wildcard(1)}}.{{wildcard(2)}}",
        "p.{{partition(016)}}.{{wildcard(1)}}.{{wildcard(2)}}",
        "p.{{partition(16)}}.{{wildcard(1)}}.{{wildcard(2)}}.x",
    ],
)
def test_another_transform_is_not_taken_for_ours(other: str) -> None:
    assert partitions_in(other) is None


@given(st.from_regex(r"[a-z]{1,9}:[A-Za-z0-9]{1,30}", fullmatch=True), COUNTS)
def test_a_user_is_in_one_of_the_partitions(user: str, count: int) -> None:
    assert 0 <= partition_of(user, count) < count


def test_the_number_is_chosen_once() -> None:
    """At first what is wanted, or 16; later what there is, and nothing else."""
    assert (same_partitions(None), same_partitions(None, 5)) == (DEFAULT_PARTITIONS, 5)
    live = stream_configs(1, partitions=5)[0]
    assert (same_partitions(live), same_partitions(live, 5)) == (5, 5)
    with pytest.raises(OtherPartitions, match="has 5 partitions, but 16 are wanted") as refused:
        same_partitions(live, 16)
    assert refused.value.live == 5
