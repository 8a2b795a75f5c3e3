"""Mutants: the system without one safeguard, and the tests that must fail for each.

Safeguards are layered, so the loss of one is often hidden from users by the next: `hidden_by` names
that one, and `noticed_by` lists the tests that still notice.
"""

import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from nats.js import JetStreamContext

from bots.discord import channels
from bots.thread_order import ThreadOrder
from dataflow.answer import Answer, _reply, _Result
from dataflow.conversation import Conversation
from dataflow.effects import INTERNAL, Effect
from dataflow.pending import Pending
from shared import names, tracing
from shared.bus import Bus
from shared.group_commit import GroupCommit
from shared.receipts import Claim, Receipts
from shared.replies import Journaled, Reply

CREATE_ONLY: Final = "Nats-Expected-Last-Subject-Sequence"


def without_journal(patch: pytest.MonkeyPatch) -> None:
    """Publishes a reply without checking whether there is one already."""

    async def journal(self: Bus, reply: Reply) -> Journaled:
        subject = names.reply_subject(reply.user, reply.prompt_id)
        await self.until_done(lambda: self.js.publish(subject, reply.wire()))
        return Journaled(reply)

    async def stored_reply(*_: Any) -> None:
        return None

    patch.setattr(Bus, "journal", journal)
    patch.setattr(Bus, "stored_reply", stored_reply)


def settled_without_the_journal(patch: pytest.MonkeyPatch) -> None:
    """Treats a question as settled once it has an answer, even if storing the answer failed."""

    async def settled(self: Answer, span: tracing.Span) -> Journaled | None:
        try:
            return await self._journaled(span)
        except RuntimeError:
            return Journaled(_reply(self._effect, _Result("failed", INTERNAL)))

    patch.setattr(Answer, "_replied", settled)


def without_receipts(patch: pytest.MonkeyPatch) -> None:
    """Records no receipts."""

    async def claim(_: Receipts, key: str) -> Claim:
        del key
        return Claim.NEW

    async def record(_: Receipts, key: str, receipt: str, *, finished: bool = False) -> None:
        del key, receipt, finished

    patch.setattr(Receipts, "claim", claim)
    patch.setattr(Receipts, "record", record)


def without_order(patch: pytest.MonkeyPatch) -> None:
    """Posts a reply without waiting for its predecessor."""

    async def may_go(_: ThreadOrder, after: str | None) -> bool:
        del after
        return True

    patch.setattr(ThreadOrder, "_may_go", may_go)


def without_nonce(patch: pytest.MonkeyPatch) -> None:
    """Sends a different nonce for the same part each time."""
    patch.setattr(channels, "nonce_of", lambda _: secrets.token_hex(12))


def without_memory_of_questions(patch: pytest.MonkeyPatch) -> None:
    """Makes the conversation forget the questions that it has settled."""
    on_ask = Conversation._on_ask

    def forgetful(self: Conversation, new: Pending) -> list[Effect]:
        self._queue.settled.clear()
        return on_ask(self, new)

    patch.setattr(Conversation, "_on_ask", forgetful)


def without_header(header: str, subjects: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Returns a mutation that removes the header from messages on the subjects."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        publish, store = JetStreamContext.publish, GroupCommit.store

        def bare(subject: str, headers: dict[str, str]) -> dict[str, str]:
            return {
                k: v for k, v in headers.items() if k != header or not subject.startswith(subjects)
            }

        async def published(self: JetStreamContext, subject: str, *args: Any, **fields: Any) -> Any:
            fields["headers"] = bare(subject, fields.get("headers") or {}) or None
            return await publish(self, subject, *args, **fields)

        async def stored(
            self: GroupCommit, subject: str, data: bytes, headers: dict[str, str]
        ) -> bool:
            return await store(self, subject, data, bare(subject, headers))

        patch.setattr(JetStreamContext, "publish", published)
        patch.setattr(GroupCommit, "store", stored)

    return mutate


@dataclass(frozen=True)
class Mutant:
    """A removed safeguard.

    `in_processes`: removed in the processes that tests start, not in pytest.
    """

    mutate: Callable[[pytest.MonkeyPatch], None]
    noticed_by: tuple[str, ...]
    hidden_by: str = ""
    in_processes: bool = False


_ANSWERING: Final = "tests/integration/test_answering.py"
_BUS: Final = "tests/integration/test_bus.py"
_GROUP_COMMIT: Final = "tests/integration/test_group_commit.py"
_RELAY: Final = "tests/integration/test_relay.py"
_DISCORD: Final = "tests/contract/test_discord_answering.py"
_OUTAGES: Final = "tests/integration/test_outages.py"
_SIMULATION: Final = "tests/chaos/test_relay_simulation.py"
_SHOWN_ONCE: Final = (
    f"{_SIMULATION}::test_each_reply_is_shown_once_in_full_and_in_order_despite_crashes[0]"
)

MUTANTS: Final = {
    "journal": Mutant(
        without_journal,
        (f"{_OUTAGES}::test_a_lost_store_is_rebuilt_from_the_stream_and_the_journal",),
        in_processes=True,
    ),
    "settled by the journal alone": Mutant(
        settled_without_the_journal,
        (
            f"{_ANSWERING}::test_a_failure_after_the_model_call_becomes_a_journaled_notice[1]",
            f"{_ANSWERING}::test_a_failure_after_the_model_call_becomes_a_journaled_notice[3]",
        ),
        hidden_by="Nothing: such a question would never be answered.",
    ),
    "the order of a thread": Mutant(
        without_order,
        (
            _SHOWN_ONCE,
            f"{_RELAY}::test_after_a_crash_a_newer_reply_waits_for_the_older_one",
            f"{_RELAY}::test_after_a_broken_connection_a_newer_reply_waits_for_the_older_one",
        ),
        hidden_by="The order of the journal, as long as one process holds both replies.",
    ),
    "receipts": Mutant(
        without_receipts,
        (
            _SHOWN_ONCE,
            f"{_RELAY}::test_a_crash_between_post_and_receipt_posts_nothing_twice",
            f"{_RELAY}::test_a_posted_reply_without_an_acknowledgement_is_not_posted_again",
        ),
        hidden_by="Discord's nonce, for a few minutes and only if the text is the same.",
    ),
    "nonce": Mutant(
        without_nonce,
        (
            f"{_DISCORD}::test_a_lost_response_leaves_one_message",
            f"{_DISCORD}::test_a_recent_preview_is_completed_without_a_search",
        ),
        hidden_by="`find_posted` finds the last part and the preview by their buttons. Only a "
        "recent part between them depends on its nonce.",
    ),
    "create-only replies": Mutant(
        without_header(CREATE_ONLY, "replies."),
        (
            f"{_BUS}::test_the_first_reply_is_kept",
            f"{_BUS}::test_a_reply_whose_acknowledgement_was_lost_is_stored_once",
            f"{_GROUP_COMMIT}::test_the_first_reply_is_kept_among_many",
        ),
        hidden_by="The dataflow looks into the journal before it asks the model. Two answers at "
        "the same moment are not covered.",
    ),
    "create-only receipts": Mutant(
        without_header(CREATE_ONLY, "$KV."),
        (_SHOWN_ONCE, f"{_RELAY}::test_a_crash_between_post_and_receipt_posts_nothing_twice"),
        hidden_by="Discord's nonce, as above.",
    ),
    "dedupe of events": Mutant(
        without_header("Nats-Msg-Id", "prompts."),
        (
            f"{_BUS}::test_an_event_is_stored_once_however_often_it_is_published",
            f"{_BUS}::test_a_publish_whose_acknowledgement_was_lost_is_stored_once",
            f"{_GROUP_COMMIT}::test_repeats_in_a_batch_do_not_prevent_the_others_from_being_stored",
        ),
        hidden_by="The conversation ignores the second copy, and so does the journal: people see "
        "one answer, but the stream contains two events.",
    ),
    "dedupe in the conversation": Mutant(
        without_memory_of_questions,
        ("tests/unit/test_conversation.py::test_the_same_question_twice_is_asked_once",),
        hidden_by="The journal: the second answer is dropped, but the model call was paid for.",
    ),
}


def run_mutated(name: str, *command: str) -> None:
    """Runs a `threadwax` command without the safeguard."""
    from ops.cli import main  # noqa: PLC0415  (only the mutated process needs it)

    MUTANTS[name].mutate(pytest.MonkeyPatch())
    sys.argv = ["threadwax", *command]
    main()


def program_of(name: str, *command: str) -> tuple[str, str]:
    """Returns the arguments for Python that call `run_mutated`."""
    arguments = ", ".join(map(repr, (name, *command)))
    return "-c", f"from tests.chaos.mutants import run_mutated; run_mutated({arguments})"
