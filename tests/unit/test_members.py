"""Which members are alive, and how many partitions each of them should hold."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataflow.partitions.members import DEAD_AFTER, Members, quota

NAMES = ("a", "b", "c", "d")


def heard(me: str, *others: str) -> Members:
    members = Members(me)
    for one in (me, *others):
        members.hear(one, leaving=False)
    return members


def own_beats(members: Members, count: int) -> None:
    for _ in range(count):
        members.hear(members.me, leaving=False)


@given(st.integers(1, 256), st.integers(1, 300))
def test_quotas_are_balanced_and_complete(partitions: int, count: int) -> None:
    """More members than partitions, too: the last ones hold none."""
    live = [f"m{number:03}" for number in range(count)]
    quotas = [quota(partitions, live, member) for member in live]
    assert sum(quotas) == partitions
    assert max(quotas) - min(quotas) <= 1
    assert quotas == sorted(quotas, reverse=True)


def test_all_members_have_the_same_list_of_the_living() -> None:
    assert heard("a", "b", "c").live() == heard("c", "a", "b").live() == ["a", "b", "c"]


def test_who_is_silent_is_dead_after_own_beats() -> None:
    members = heard("me", "other")
    own_beats(members, DEAD_AFTER - 1)
    assert members.is_heard("other")
    own_beats(members, 1)
    assert not members.is_heard("other")
    assert members.live() == ["me"]


def test_nobody_grows_old_while_own_beats_do_not_come_back() -> None:
    """NATS is away: however long that takes, everybody is as alive as before."""
    members = heard("me", "other")
    for _ in range(100):
        members.expect("other")
    assert members.live() == ["me", "other"]


def test_a_member_is_news_once() -> None:
    members = heard("me")
    assert [members.hear("other", leaving=False) for _ in range(3)] == [True, False, False]
    assert [members.hear("other", leaving=True) for _ in range(3)] == [True, False, False]


def test_a_member_that_leaves_holds_nothing_but_is_heard() -> None:
    """It may still be answering: its questions are not asked elsewhere."""
    members = heard("me", "other")
    members.hear("other", leaving=True)
    assert members.live() == ["me"]
    assert members.is_heard("other")
    own_beats(members, DEAD_AFTER)
    assert not members.is_heard("other")


def test_who_holds_a_partition_and_was_never_heard_gets_time() -> None:
    members = heard("me")
    members.expect("other")
    assert members.is_heard("other")
    own_beats(members, DEAD_AFTER)
    assert not members.is_heard("other")
    members.expect("other")
    assert not members.is_heard("other"), "it gets that time only once"


def test_a_member_known_to_be_dead_is_not_waited_for_unless_it_is_heard() -> None:
    members = heard("me", "other")
    members.bury("other")
    assert not members.is_heard("other")
    assert members.hear("other", leaving=False)
    assert members.is_heard("other")


def test_the_dead_are_forgotten_once_they_hold_nothing() -> None:
    members = heard("me", "holds", "empty")
    members.hear("empty", leaving=True)
    own_beats(members, DEAD_AFTER)
    members.drop_dead(but={"holds"})
    assert set(members.heard) == {"me", "holds"}
    assert members.leaving == set()
    assert members.hear("empty", leaving=False)
    assert "empty" in members.live()


class Silence(RuleBasedStateMachine):
    """Random beats, compared with a plain count of own beats since each member was last heard."""

    def __init__(self) -> None:
        super().__init__()
        self.members = Members("a")
        self.silent_for: dict[str, int] = {}
        self.leaving: set[str] = set()

    @rule(member=st.sampled_from(NAMES[1:]), leaving=st.booleans())
    def is_heard(self, member: str, *, leaving: bool) -> None:
        self.members.hear(member, leaving=leaving)
        self.silent_for[member] = 0
        if leaving:
            self.leaving.add(member)

    @rule()
    def beats(self) -> None:
        self.members.hear("a", leaving=False)
        self.silent_for = {member: since + 1 for member, since in self.silent_for.items()}
        self.silent_for["a"] = 1

    @rule(member=st.sampled_from(NAMES[1:]))
    def is_expected(self, member: str) -> None:
        self.members.expect(member)
        self.silent_for.setdefault(member, 0)

    @rule(member=st.sampled_from(NAMES[1:]))
    def is_buried(self, member: str) -> None:
        self.members.bury(member)
        self.silent_for[member] = DEAD_AFTER

    @rule(held=st.sets(st.sampled_from(NAMES)))
    def the_dead_are_dropped(self, held: set[str]) -> None:
        self.members.drop_dead(held)
        for member, since in list(self.silent_for.items()):
            if since >= DEAD_AFTER and member not in held:
                del self.silent_for[member]
                self.leaving.discard(member)

    @precondition(lambda self: self.silent_for)
    @invariant()
    def the_same_are_alive(self) -> None:
        alive = {member for member, since in self.silent_for.items() if since < DEAD_AFTER}
        assert {member for member in NAMES if self.members.is_heard(member)} == alive
        assert self.members.live() == sorted(alive - self.leaving)


TestSilence = Silence.TestCase
TestSilence.settings = settings(deadline=None)
