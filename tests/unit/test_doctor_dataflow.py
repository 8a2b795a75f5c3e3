"""What the doctor says about the processes of the dataflow."""

from datetime import UTC, datetime, timedelta

from dataflow.store.store import Claim
from ops.doctor_dataflow import Seen, findings_of

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def claims(*holders: str) -> dict[int, Claim]:
    return {number: Claim(holder, 1) for number, holder in enumerate(holders)}


def said(seen: Seen) -> list[tuple[str, str]]:
    return [(finding.grade, finding.what) for finding in findings_of(seen, NOW)]


def test_it_names_who_serves_how_much() -> None:
    seen = Seen(claims("a", "b", "a"), frozenset("ab"))
    assert said(seen) == [("ok", "3 partitions: a serves 2, b serves 1")]


def test_partitions_of_a_silent_member_are_served_by_nobody() -> None:
    """Also those that were released and not taken."""
    assert said(Seen(claims("a", "dead", "", "a"), frozenset("a"))) == [
        ("ok", "4 partitions: a serves 2"),
        ("fail", "nobody serves partitions 1, 2"),
    ]


def test_nobody_at_all() -> None:
    assert said(Seen(claims("dead", ""), frozenset())) == [
        ("fail", "no process serves the questions")
    ]
    assert said(Seen({}, frozenset())) == [("fail", "no process serves the questions")]


def test_what_waits_is_reported_by_age() -> None:
    """A question of a few seconds is normal, one of minutes is not."""
    early = Seen(claims("a"), frozenset("a"), pending=2,
                 oldest_pending=NOW - timedelta(seconds=4))  # fmt: skip
    assert said(early)[1] == (
        "ok", "questions without an answer: 2; the oldest was asked 4 s ago"
    )  # fmt: skip
    late = Seen(claims("a"), frozenset("a"), NOW - timedelta(hours=2, minutes=3), 1,
                NOW - timedelta(minutes=6))  # fmt: skip
    assert said(late)[1:] == [
        ("fail", "something said 2 h 3 min ago was not read yet"),
        ("warn", "questions without an answer: 1; the oldest was asked 6 min ago"),
    ]
