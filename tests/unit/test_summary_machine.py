"""Whatever people do, and whenever summaries arrive: no request is too long or reveals anything."""

import re
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dataflow.audience import may_recall, same_thread
from dataflow.conversation import Conversation
from dataflow.effects import CallModel, Effect, Settle, Summarize, Summarized
from dataflow.question_queue import thread_key
from dataflow.summary import digests
from dataflow.tokens import Window, message_tokens
from shared.messages import Again, Ask, Deleted, Edited, Forget, Place, Quote, Reset
from tests.unit.test_conversation import DM, ROOM, USER, ask, calls, contents, event, reply
from tests.unit.test_request import check_roles

PUBLIC, SIDE = (ROOM.model_copy(update={"thread": thread}) for thread in ("t1", "t2"))
CLOSED = PUBLIC.model_copy(update={"audience": "private"})
"""The same thread before its channel was opened."""

SHARED = PUBLIC.model_copy(update={"space": "S2"})
"""The same thread once its channel is shared with another company."""

PLACES = (PUBLIC, PUBLIC, PUBLIC, SIDE, DM, CLOSED, SHARED)


MARKER = re.compile(r"<[qau][\d-]+>")


@dataclass
class Last:
    """The last request of a place and, once it is remembered, its answer."""

    asked: str
    contents: list[str]
    start: int
    order: int
    answer: str | None = None


class Summarizing(RuleBasedStateMachine):
    """Each text contains a marker. A summary contains all markers of its source.

    Markers: `<a>` for answers, `<q>` for questions, `<u>` for quotes, each with a number.
    """

    @initialize(context=st.integers(5_200, 7_000))
    def begins(self, context: int) -> None:
        self.window = Window(context, 1_000, "Be kind.", summaries=True)
        self.talk = Conversation(self.window, USER)
        self.count = 0
        self.running: dict[str, CallModel] = {}
        self.summarizing: list[Summarize] = []
        self.markers: dict[str, Place] = {}
        self.owner: dict[str, str] = {}
        """The question of each marker, by its first id."""
        self.gone: set[str] = set()
        self.last: dict[str, Last] = {}
        """By place, the newest question with its request."""

    # --- what holds -------------------------------------------------------------------------

    def follow(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, CallModel):
                self.running[effect.ask.id] = effect
                self.check(effect)
            elif isinstance(effect, Summarize):
                assert not self.summarizing, "two at a time"
                self.summarizing.append(effect)
                self.check_source(effect)
            elif isinstance(effect, Settle):
                self.follow(self.talk.on_reply(reply(effect, "no", effect.outcome)))

    def found(self, text: str) -> set[str]:
        return {marker for marker in MARKER.findall(text) if marker in self.markers}

    def check_source(self, wanted: Summarize) -> None:
        """Only words of exactly this place, none that is gone, and no more than the room."""
        check_roles(wanted.messages)
        sent = [message["content"] for message in wanted.messages]
        room = self.window.room(self.talk._memory.ratio)
        assert sum(map(message_tokens, sent)) <= room
        for marker in self.found("\n".join(sent)):
            assert self.markers[marker] == wanted.fold.place, "words of another place"
            assert marker not in self.gone, "a deleted word"
            assert marker[1] != "u", "somebody else's words"

    def check(self, call: CallModel) -> None:
        request, place = call.request, call.ask.place
        check_roles(request.messages)
        room = self.window.room(self.talk._memory.ratio)
        assert request.estimated_tokens <= room or len(request.messages) == 2
        assert sum(map(message_tokens, contents(call))) <= request.estimated_tokens
        for marker in self.found("\n".join(contents(call)[:-1])):
            assert marker not in self.gone, "a deleted word"
            heard = same_thread if marker[1] == "u" else may_recall
            assert heard(self.markers[marker], place), "words leaked"
        thread = place.model_dump_json()
        before = self.last.pop(thread, None)
        new = contents(call)
        (order,) = [p.order for p in self.talk.pending if p.ask.id == call.ask.id]
        if (
            before is not None
            and before.answer is not None
            and before.order < order
            and request.start == before.start
            and self.remembers(before.contents)
        ):
            old = before.contents
            assert new[: len(old)] == old, "the beginning has changed"
            assert new[len(old)] == before.answer
        self.last[thread] = Last(call.ask.id, new, request.start, order)

    def remembers(self, sent: list[str]) -> bool:
        """Whether all turns of a request are in memory, which keeps the newest of all threads."""
        remembered = {m for turn in self.talk.turns for m in MARKER.findall(turn.question)}
        questions = [text for text in sent[1::2] if not text.startswith("<summary>")]
        own = [re.findall(r"<q[\d-]+>", text)[-1:] for text in questions]
        return remembered.issuperset(marker for found in own for marker in found)

    @invariant()
    def holds(self) -> None:
        """A summary claims no turn that is sent too, and contains all that it claims."""
        if not hasattr(self, "talk"):
            return
        starts = self.talk._memory.starts
        for start in starts.by_thread.values():
            for summary in start.summaries:
                assert summary.until < start.first
                assert not self.found(summary.text) & self.gone, "a deleted word"
                assert all(self.markers[m] == summary.place for m in self.found(summary.text))
        for turn in self.talk.turns:
            start = starts.by_thread.get(thread_key(turn.place))
            if start is None or not start.summaries:
                continue
            claimed = {name for summary in start.summaries for name in summary.covers}
            if claimed & set(digests([turn])):
                assert turn.order < start.first, "claimed, and sent"
                summary = self.found(start.summaries[-1].text)
                assert self.found(turn.answer) <= summary, "claimed, and missing"

    # --- what people do ---------------------------------------------------------------------

    @rule(
        place=st.sampled_from(PLACES),
        words=st.sampled_from([20, 60, 60, 120, 400]),
        quoted=st.sampled_from([0, 0, 0, 20]),
    )
    def asks(self, place: Place, words: int, quoted: int) -> None:
        self.count += 1
        number = f"q{self.count}"
        quotes = ()
        if quoted:
            quotes = (Quote(author="Bob", text=f"<u{self.count}> " + "word " * quoted),)
            self.mark(f"<u{self.count}>", place, number)
        self.mark(f"<q{self.count}>", place, number)
        asked = Ask(
            id=number, user=USER, place=place, said_at=ask(self.count).said_at,
            text=f"<q{self.count}> " + "word " * words, quotes=quotes,
        )  # fmt: skip
        self.follow(self.talk.on_event(asked, replayed=False))

    def mark(self, marker: str, place: Place, question: str) -> None:
        self.markers[marker] = place
        self.owner[marker] = question

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        words=st.sampled_from([20, 60, 150]),
        outcome=st.sampled_from(["answered"] * 7 + ["failed"]),
        counted=st.floats(0.9, 1.5),
    )
    def is_answered(self, data: st.DataObject, words: int, outcome: Any, counted: float) -> None:
        call = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        (pending,) = [p for p in self.talk.pending if p.ask.id == call.ask.id]
        marker, place = f"<a{pending.order}>", call.ask.place
        if marker in self.markers:  # an answer that is replaced
            self.gone.discard(marker)
            marker = f"<a{pending.order}-{self.count}>"
        self.mark(marker, place, pending.replaces or pending.ask.id)
        if pending.forgotten:
            self.gone.add(marker)
        answer = f"{marker} " + "word " * words
        last = self.last.get(place.model_dump_json())
        is_remembered = outcome == "answered" and not pending.forgotten
        if last is not None and last.asked == call.ask.id and is_remembered:
            last.answer = answer
        if pending.replaces is not None:
            self.last.clear()
        usage = int(call.request.estimated_tokens * counted)
        self.follow(self.talk.on_reply(reply(call, answer, outcome, usage)))

    @rule(place=st.sampled_from(PLACES[1:]), turns=st.integers(5, 20))
    def has_a_long_talk(self, place: Place, turns: int) -> None:
        """Several questions with their answers."""
        for _ in range(turns):
            self.count += 1
            number = f"q{self.count}"
            self.mark(f"<q{self.count}>", place, number)
            asked = ask(self.count, f"<q{self.count}> " + "word " * 60, place)
            effects = self.talk.on_event(asked, replayed=False)
            self.follow(effects)
            if number not in {call.ask.id for call in calls(effects)}:
                return
            call = self.running.pop(number)
            (pending,) = [p for p in self.talk.pending if p.ask.id == number]
            self.mark(f"<a{pending.order}>", place, number)
            answer = f"<a{pending.order}> " + "word " * 60
            self.last[place.model_dump_json()].answer = answer
            self.follow(self.talk.on_reply(reply(call, answer)))

    @precondition(lambda self: self.summarizing)
    @rule(how=st.sampled_from(["good"] * 5 + ["empty", "long", "failed", "skipped"]))
    def a_summary_arrives(self, how: str) -> None:
        wanted = self.summarizing.pop()
        source = "\n".join(message["content"] for message in wanted.messages)
        text = {"empty": "", "long": "word " * 3_000}.get(how, " ".join(sorted(self.found(source))))
        outcome: Any = how if how in {"failed", "skipped"} else "written"
        self.last.clear()
        self.follow(self.talk.on_summarized(Summarized(wanted.fold, outcome, text)))

    @precondition(lambda self: self.owner)
    @rule(data=st.data(), kind=st.sampled_from([Deleted, Deleted, Edited, Again, Reset, Forget]))
    def changes_their_mind(self, data: st.DataObject, kind: type) -> None:
        self.count += 1
        target = data.draw(st.sampled_from(sorted(set(self.owner.values()))))
        place = next(self.markers[m] for m, owner in self.owner.items() if owner == target)
        fields: dict[str, Any] = {} if kind in {Reset, Forget} else {"prompt_id": target}
        mine = {marker for marker, owner in self.owner.items() if owner == target}
        if kind in {Edited, Again} and mine & self.gone:
            return  # the person says it once more, which is no leak
        if kind is Edited:
            fields |= {"text": f"<q{target[1:]}> edited", "ask_again": data.draw(st.booleans())}
        elif kind is Deleted:
            self.gone |= mine
        elif kind is Forget:
            self.gone |= set(self.markers)
        elif kind is Reset:
            self.gone |= {
                marker for marker, said_in in self.markers.items()
                if may_recall(said_in, place) or said_in.channel == place.channel
            }  # fmt: skip
        self.last.clear()
        self.follow(self.talk.on_event(event(kind, self.count, place, **fields), replayed=False))

    @rule()
    def restarts(self) -> None:
        before = self.talk._memory.starts.by_thread
        self.talk = Conversation.load(self.talk.dump(), self.window)
        assert self.talk._memory.starts.by_thread == before
        self.running.clear()
        self.summarizing.clear()
        self.last.clear()
        self.follow(self.talk.resume())


TestSummarizing = Summarizing.TestCase
TestSummarizing.settings = settings(max_examples=25, stateful_step_count=30)
