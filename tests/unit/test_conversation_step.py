"""When a conversation step asks to be notified, and what it does then."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from dataflow.eviction.idle import IdleConversations
from dataflow.eviction.store import EvictedStore
from dataflow.prompts_source import NOW, Arrived

from dataflow.conversation_step import ANNOUNCE_WAITS_AFTER, ConversationStep
from dataflow.effects import CallModel, Wait
from dataflow.tokens import Window
from shared.messages import Ask, Journaled, Reply
from tests.running import question

WINDOW = Window(context_tokens=4096, answer_tokens=512, system_prompt="You are a bot.")


@pytest.fixture
def step(tmp_path: Path) -> ConversationStep:
    return built(tmp_path, None)


def built(folder: Path, snapshot: bytes | None) -> ConversationStep:
    return ConversationStep(snapshot, WINDOW, EvictedStore(folder), IdleConversations(None))


def asked(number: int) -> Arrived:
    return Arrived(question("ada", number, f"question {number}"), replayed=False)


def answered(ask: Ask) -> Journaled:
    now = datetime.now(UTC)
    return Journaled(
        Reply(prompt_id=ask.id, user=ask.user, place=ask.place, outcome="answered", text="yes",
              said_at=ask.said_at, answered_at=now)
    )  # fmt: skip


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
    assert [(type(effect), effect.ask.id) for effect in effects if isinstance(effect, Wait)] == [
        (Wait, asked(2).event.id),
        (Wait, asked(3).event.id),
    ]
    assert step.notify_at() is None


def test_a_short_wait_is_not_announced(step: ConversationStep) -> None:
    first = question("ada", 1, "question 1")
    step.on_batch([Arrived(first, replayed=False), asked(2)])
    effects, _ = step.on_batch([answered(first)])
    assert [type(effect) for effect in effects] == [CallModel]
    assert step.notify_at() is None


def test_after_a_restart_pending_questions_are_asked_and_waits_announced_at_once(
    step: ConversationStep, tmp_path: Path
) -> None:
    step.on_batch([asked(1), asked(2)])
    (tmp_path / "other").mkdir()
    resumed = built(tmp_path / "other", step.snapshot())
    assert resumed.notify_at() is NOW
    resumed.on_batch([asked(3)])
    assert resumed.notify_at() is NOW, "pending questions must be asked again at once"
    effects, _ = resumed.on_notify()
    assert {type(effect) for effect in effects} <= {CallModel, Wait}
    assert [effect.ask.id for effect in effects if isinstance(effect, Wait)] == [
        asked(2).event.id,
        asked(3).event.id,
    ]
