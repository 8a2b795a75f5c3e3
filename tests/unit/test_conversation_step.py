"""A conversation step: what it loads, when it asks to be notified, and what it does then."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from dataflow.conversation_step import ANNOUNCE_WAITS_AFTER, ConversationStep, Rules
from dataflow.effects import CallModel, Effect, Wait
from dataflow.heard import Arrived, Leave, Loaded
from dataflow.partitions.in_memory import Conversing
from dataflow.tokens import Window
from shared.messages import Ask
from shared.replies import Journaled, Reply
from tests.running import question

WINDOW = Window(context_tokens=4096, answer_tokens=512, system_prompt="You are a bot.")
ADA = "test:ada"


@dataclass
class Known:
    """What the steps tell about the conversations in memory."""

    entered_: list[str] = field(default_factory=list)
    handled_: int = 0
    set_aside: list[tuple[str, bytes, str]] = field(default_factory=list)

    def entered(self, user: str, conversation: Conversing) -> None:
        assert isinstance(conversation, ConversationStep)
        self.entered_.append(user)

    def handled(self, count: int) -> None:
        self.handled_ += count

    def keep(self, user: str, saved: bytes, why: str) -> None:
        self.set_aside.append((user, saved, why))


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def step(known: Known) -> ConversationStep:
    return built(known)[0]


def built(
    known: Known, saved: bytes | None = None, answered_elsewhere: frozenset[str] = frozenset()
) -> tuple[ConversationStep, list[Effect]]:
    """A step that has heard what is stored, and what it does then."""
    step = ConversationStep.builder(Rules(WINDOW), known, known.keep)(None)
    effects, discard = step.on_batch([Loaded(ADA, saved, answered_elsewhere)])
    assert not discard
    return step, list(effects)


def asked(number: int) -> Arrived:
    return Arrived(question("ada", number, f"question {number}"), replayed=False)


def answered(ask: Ask) -> Journaled:
    now = datetime.now(UTC)
    return Journaled(
        Reply(prompt_id=ask.id, user=ask.user, place=ask.place, outcome="answered", text="yes",
              said_at=ask.said_at, answered_at=now)
    )  # fmt: skip


def of_kind(effects: Iterable[Effect], kind: type[CallModel | Wait]) -> list[str]:
    return [effect.ask.id for effect in effects if isinstance(effect, kind)]


def test_a_question_that_does_not_wait_needs_no_notification(step: ConversationStep) -> None:
    effects, _ = step.on_batch([asked(1)])
    assert [type(effect) for effect in effects] == [CallModel]
    assert step.notify_at() is None


def test_a_wait_is_announced_after_a_while(step: ConversationStep) -> None:
    before = datetime.now(UTC)
    effects, _ = step.on_batch([asked(1), asked(2)])
    assert [type(effect) for effect in effects] == [CallModel]
    due = step.notify_at()
    assert due is not None
    assert before + ANNOUNCE_WAITS_AFTER <= due <= datetime.now(UTC) + ANNOUNCE_WAITS_AFTER
    step.on_batch([asked(3)])
    assert step.notify_at() == due, "more questions must not delay the notice"
    effects, _ = step.on_notify()
    assert of_kind(effects, Wait) == [asked(2).event.id, asked(3).event.id]
    assert step.notify_at() is None


def test_a_short_wait_is_not_announced(step: ConversationStep) -> None:
    first = question("ada", 1, "question 1")
    step.on_batch([Arrived(first, replayed=False), asked(2)])
    effects, _ = step.on_batch([answered(first)])
    assert [type(effect) for effect in effects] == [CallModel]
    assert step.notify_at() is None


def test_after_a_restart_pending_questions_are_asked_at_once_and_waits_announced(
    step: ConversationStep, known: Known
) -> None:
    step.on_batch([asked(1), asked(2)])
    assert step.has_work
    resumed, effects = built(known, step.saved())
    assert of_kind(effects, CallModel) == [asked(1).event.id]
    assert resumed.notify_at() is not None
    resumed.on_batch([asked(3)])
    effects = list(resumed.on_notify()[0])
    assert of_kind(effects, Wait) == [asked(2).event.id, asked(3).event.id]


def test_a_question_that_its_last_holder_still_answers_is_marked(
    step: ConversationStep, known: Known
) -> None:
    """Its reply is waited for; a question that nobody answers is asked."""
    step.on_batch([asked(1)])
    (mine,) = built(known, step.saved())[1]
    assert isinstance(mine, CallModel)
    (theirs,) = built(known, step.saved(), frozenset({asked(1).event.id}))[1]
    assert isinstance(theirs, CallModel)
    assert (mine.answered_elsewhere, theirs.answered_elsewhere) == (False, True)
    assert (mine.check_journal, theirs.check_journal) == (True, True)


def test_every_item_is_counted_and_a_conversation_enters_memory_once(
    step: ConversationStep, known: Known
) -> None:
    step.on_batch([asked(1), asked(2)])
    assert (known.entered_, known.handled_) == ([ADA], 3)


def test_a_conversation_that_leaves_is_discarded_and_can_be_loaded_again(
    step: ConversationStep, known: Known
) -> None:
    first = question("ada", 1, "question 1")
    step.on_batch([Arrived(first, replayed=False), answered(first)])
    saved = step.saved()
    assert not step.has_work
    assert step.on_batch([Leave()]) == ([], True)
    again, effects = built(known, saved)
    assert effects == []
    assert again.saved() == saved


def test_one_batch_may_end_a_conversation_and_begin_the_next(
    step: ConversationStep, known: Known
) -> None:
    """A partition is lost, and claimed again: what was in memory is not used any more."""
    step.on_batch([asked(1)])
    effects, discard = step.on_batch([Leave(), Loaded(ADA, None), asked(2)])
    assert not discard
    assert of_kind(effects, CallModel) == [asked(2).event.id]
    assert asked(1).event.id.encode() not in step.saved()
    assert known.entered_ == [ADA, ADA]


@pytest.mark.parametrize("saved", [b"{", b"\xff", b'{"v": 2, "memory": "of another shape"}', b""])
def test_what_cannot_be_read_is_set_aside_and_begins_again(known: Known, saved: bytes) -> None:
    step, effects = built(known, saved)
    ((user, kept, why),) = known.set_aside
    assert (user, kept) == (ADA, saved)
    assert why
    assert effects == []
    assert of_kind(step.on_batch([asked(1)])[0], CallModel) == [asked(1).event.id]
