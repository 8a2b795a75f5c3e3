"""Summaries of old turns: when one is made, from what, and what makes it vanish."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow import thread_starts
from dataflow.conversation import Conversation
from dataflow.data_tags import SUMMARY_HEAD, UNDERSTOOD
from dataflow.effects import CallModel, Effect, Summarize, Summarized
from dataflow.model.answer_notes import FALLBACK, FILTERED, LENGTH
from dataflow.model.endpoint import window_of
from dataflow.summaries import UNREPORTED_LIMIT
from dataflow.summary import (
    AGAIN_AFTER,
    FOLD_AT,
    TEXT_SHARE,
    TEXT_TOKENS_LIMIT,
    Summary,
    digest,
    instruction,
)
from dataflow.thread_starts import SUMMARIES_LIMIT, SUMMARIZED_LIMIT, ThreadStarts
from dataflow.tokens import FIRST_RATIO, Window
from dataflow.turns import TURNS_LIMIT
from shared.messages import Again, Ask, Attachment, Deleted, Edited, Forget, Place, Quote, Reset
from shared.replies import BackgroundCall, Usage
from shared.settings import Settings
from tests.unit.test_conversation import CLOSED, DM, ROOM, ask, calls, contents, event, reply

WINDOW = Window(8_000, 2_000, "Be kind.", summaries=True)
ROOM_TOKENS = WINDOW.room(FIRST_RATIO)
THREAD, OTHER = (ROOM.model_copy(update={"thread": thread}) for thread in ("t1", "t2"))
CALL = BackgroundCall(kind="summary", model="m", usage=Usage(prompt_tokens=9, completion_tokens=2))


class Talk:
    """One user's conversation, whose summaries wait until a test ends them."""

    def __init__(self, window: Window = WINDOW, place: Place = THREAD) -> None:
        self.window = window
        self.talk = Conversation(window, "test:ada")
        self.place = place
        self.count = 0
        self.wanted: list[Summarize] = []
        self.last: CallModel | None = None

    def follow(self, effects: list[Effect]) -> list[CallModel]:
        self.wanted += [effect for effect in effects if isinstance(effect, Summarize)]
        return calls(effects)

    def says(self, text: str = "", place: Place | None = None, **fields: Any) -> CallModel:
        """Asks, and gets an answer of some sixty tokens."""
        self.count += 1
        asked = ask(self.count, text or f"[q{self.count}] " + "word " * 40, place or self.place)
        (self.last,) = self.follow(
            self.talk.on_event(asked.model_copy(update=fields), replayed=False)
        )
        self.answered(self.last)
        return self.last

    def answered(self, call: CallModel) -> None:
        number = call.ask.id
        self.follow(self.talk.on_reply(reply(call, f"[a{number}] " + "word " * 40)))

    def until_wanted(self, **options: Any) -> Summarize:
        """Goes on until a summary is asked for."""
        already = len(self.wanted)
        for _ in range(300):
            self.says(**options)
            if len(self.wanted) > already:
                return self.wanted[-1]
        raise AssertionError("no summary is asked for")

    def happens(self, kind: type, **fields: Any) -> list[CallModel]:
        self.count += 1
        made = event(kind, self.count, fields.pop("place", self.place), **fields)
        return self.follow(self.talk.on_event(made, replayed=False))

    def ends(self, wanted: Summarize, text: str = "NOTES", call: BackgroundCall = CALL) -> None:
        self.follow(self.talk.on_summarized(Summarized(wanted.fold, "written", text, call)))

    def is_summarized(self, text: str = "NOTES") -> Summarize:
        wanted = self.until_wanted()
        self.ends(wanted, text)
        return wanted

    def restarts(self, window: Window | None = None) -> None:
        self.window = window or self.window
        self.talk = Conversation.load(self.talk.dump(), self.window)

    @property
    def summary(self) -> str | None:
        """The summary in the next request of the thread."""
        found = contents(self.says())[1]
        lines = found.splitlines()
        return lines[2] if found.startswith("<summary>") else None


@pytest.fixture
def talk() -> Talk:
    return Talk()


def words(wanted: Summarize) -> list[str]:
    return [message["content"] for message in wanted.messages]


def numbers(texts: list[str]) -> list[str]:
    return [text.split("]")[0].strip("[") for text in texts if text.startswith("[q")]


# --- when, and from what --------------------------------------------------------------------------


def test_a_summary_is_asked_for_when_the_thread_fills_nine_tenths_of_its_room(talk: Talk) -> None:
    """It is asked for with the answer that fills it, and only once at a time."""
    wanted = talk.until_wanted()
    assert talk.last is not None
    before, after = talk.last.request.estimated_tokens, ROOM_TOKENS * FOLD_AT
    assert before <= after < before + 130
    talk.says()
    talk.says()
    assert talk.wanted == [wanted]


def test_the_oldest_half_goes_into_the_summary(talk: Talk) -> None:
    """The request begins like those of the thread, so that its beginning is in the cache."""
    wanted = talk.until_wanted()
    assert talk.last is not None
    sent, asked = contents(talk.last), words(wanted)
    assert sent[: len(asked) - 1] == asked[:-1]
    assert len(sent) * 0.4 < len(asked) < len(sent) * 0.6
    assert asked[-1] == instruction(wanted.fold.limit_tokens)
    limit = min(TEXT_TOKENS_LIMIT, int(ROOM_TOKENS * TEXT_SHARE))
    assert wanted.fold.limit_tokens == limit
    assert f"at most {limit // 2} words" in asked[-1]


def test_a_summary_replaces_its_turns_when_it_arrives(talk: Talk) -> None:
    """Until then requests are as before; afterwards only their end grows."""
    wanted = talk.until_wanted()
    waiting = contents(talk.says())
    assert waiting[1].startswith("[q1]")
    talk.ends(wanted, "Ada likes <b>tea</b>, </summary> and cake.")
    first, second = contents(talk.says()), contents(talk.says())
    text = "Ada likes <b>tea</b>, &lt;/summary> and cake."
    assert first[:3] == [
        "Be kind.", f"<summary>\n{SUMMARY_HEAD}\n{text}\n</summary>", UNDERSTOOD,
    ]  # fmt: skip
    folded, kept = numbers(words(wanted)), numbers(first)
    assert [*folded, *kept] == [f"q{n}" for n in range(1, talk.count)]
    assert second[: len(first)] == first


def test_the_next_summary_continues_the_one_before_it(talk: Talk) -> None:
    first = talk.is_summarized("FIRST")
    second = talk.until_wanted()
    asked = words(second)
    assert "FIRST" in asked[1]
    assert not set(numbers(asked)) & set(numbers(words(first)))
    talk.ends(second, "SECOND")
    sent = contents(talk.says())
    assert "SECOND" in sent[1]
    assert "FIRST" not in str(sent)


@pytest.mark.parametrize(
    "window",
    [
        replace(WINDOW, summaries=False),
        Window(4_999, 1_000, "Be kind.", summaries=True),
    ],
)
def test_there_are_no_summaries_in_small_rooms_or_if_they_are_off(window: Window) -> None:
    talk = Talk(window)
    for _ in range(100):
        talk.says()
    assert talk.wanted == []


def test_the_setting_and_the_demo_model_turn_summaries_off(tmp_path: Path) -> None:
    url: dict[str, Any] = {"OPENAI_BASE_URL": "http://localhost:1/v1", "THREADWAX_HOME": tmp_path}
    assert window_of(Settings(**url)).summaries
    assert not window_of(Settings(**url, THREADWAX_SUMMARIES=False)).summaries
    assert not window_of(Settings(THREADWAX_HOME=tmp_path)).summaries


def test_a_summary_is_not_sent_once_summaries_are_off_or_the_window_is_small(talk: Talk) -> None:
    """It stays stored, for the time when they are on again."""
    talk.is_summarized()
    assert talk.summary == "NOTES"
    for window in (replace(WINDOW, summaries=False), Window(4_000, 2_000, "Be kind.")):
        talk.restarts(window)
        assert talk.summary is None
    talk.restarts(WINDOW)
    assert talk.summary == "NOTES"


def test_nothing_from_another_place_is_in_the_source_of_a_summary(talk: Talk) -> None:
    """Backgrounds, and what others said in quotes, are left out; the person's own files are in."""
    talk.says("BACKGROUND", OTHER)
    file = Attachment(name="a.txt", media_type="text/plain", text="FILE")
    first = talk.says(
        "[q2] hello", quotes=(Quote(author="Bob", text="QUOTE"),), attachments=(file,)
    )
    assert all(word in str(contents(first)) for word in ("BACKGROUND", "QUOTE", "FILE"))
    wanted = talk.until_wanted()
    assert "FILE" in str(wanted.messages)
    assert "BACKGROUND" not in str(wanted.messages)
    assert "QUOTE" not in str(wanted.messages)
    assert "Bob" not in str(wanted.messages)


def test_a_summary_is_made_of_turns_with_exactly_the_same_readers() -> None:
    """When a private channel becomes public, its thread goes on, but they are not mixed."""
    private = THREAD.model_copy(update={"audience": "private"})
    talk = Talk(place=private)
    for _ in range(5):
        talk.says()
    talk.place = THREAD
    wanted = talk.until_wanted()
    assert numbers(words(wanted)) == [f"q{n}" for n in range(1, 6)]
    assert wanted.fold.place == private
    talk.ends(wanted, "PRIVATE NOTES")
    assert talk.summary == "PRIVATE NOTES"
    public = talk.until_wanted()
    assert public.fold.place == THREAD
    assert "PRIVATE" not in str(public.messages)


@pytest.mark.parametrize("change", [{"audience": "direct", "channel": "D1"}, {"space": "S2"}])
def test_who_may_hear_a_summary_is_decided_for_each_request(
    talk: Talk, change: dict[str, Any]
) -> None:
    """The same thread may have other readers later, for example once its channel is shared."""
    talk.is_summarized()
    there = THREAD.model_copy(update=change)
    assert "NOTES" not in str(contents(talk.says("now", there)))
    assert talk.summary == "NOTES"


def test_what_was_trimmed_first_is_in_the_next_summary(talk: Talk) -> None:
    """While a summary is late, the trim acts; no turn gets lost that is still remembered."""
    late = talk.until_wanted()
    while talk.last is None or talk.last.request.start <= late.fold.until + 1:
        talk.says()
    trimmed_at = talk.count
    talk.ends(late, "LATE")
    assert talk.summary == "LATE"
    wanted = talk.wanted[-1]
    assert wanted is not late
    assert "LATE" in words(wanted)[1]
    folded = [*numbers(words(late)), *numbers(words(wanted))]
    talk.ends(wanted, "ALL")
    kept = numbers(contents(talk.says()))
    assert [*folded, *kept] == [f"q{n}" for n in range(1, talk.count + 1)]
    assert talk.count - trimmed_at < 5


def test_a_long_part_that_was_trimmed_is_summarized_in_several_calls() -> None:
    """This happens after an upgrade. The oldest come first, so that nothing is left out."""
    talk = Talk(replace(WINDOW, summaries=False))
    for _ in range(150):
        talk.says()
    talk.restarts(WINDOW)
    folded: list[str] = []
    for _ in range(8):
        before = len(talk.wanted)
        talk.says()
        for wanted in talk.wanted[before:]:
            folded += numbers(words(wanted))
            talk.ends(wanted, "NOTES")
    assert len(talk.wanted) >= 2
    kept = numbers(contents(talk.says()))
    assert [*folded, *kept] == [f"q{n}" for n in range(1, talk.count + 1)]


def test_turns_are_summarized_before_memory_forgets_them() -> None:
    """In a large window the limits of the memory come first."""
    talk = Talk(Window(1_000_000, 100_000, "Be kind.", summaries=True))
    folded: list[str] = []
    for _ in range(3 * TURNS_LIMIT):
        before = len(talk.wanted)
        talk.says("")
        for wanted in talk.wanted[before:]:
            folded += numbers(words(wanted))
            talk.ends(wanted, "NOTES")
    kept = numbers(contents(talk.says()))
    assert [*folded, *kept] == [f"q{n}" for n in range(1, talk.count + 1)]
    assert 5 <= len(talk.wanted) <= 15


def test_short_threads_are_not_summarized_because_memory_is_full() -> None:
    """Each of a hundred threads has a few turns: a summary of one of them would help nobody."""
    talk = Talk(Window(1_000_000, 100_000, "Be kind.", summaries=True))
    for number in range(400):
        talk.says(place=ROOM.model_copy(update={"thread": f"t{number % 100}"}))
    assert talk.wanted == []


# --- when it is accepted --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", " \n ", "word " * 400, "Ada" + LENGTH, "Ada" + FILTERED,
             "Ada" + LENGTH + FALLBACK.format(model="m")],
)  # fmt: skip
def test_a_summary_that_is_empty_too_long_or_cut_off_is_dropped(talk: Talk, text: str) -> None:
    """The thread is trimmed instead, and must grow before the next attempt."""
    talk.ends(talk.until_wanted(), text)
    before = talk.talk.dump()
    assert b"summaries" not in before
    said = 0
    while len(talk.wanted) < 2:
        talk.says()
        said += talk.talk.turns[-1].tokens
    assert said >= ROOM_TOKENS * AGAIN_AFTER


def test_the_note_of_a_fallback_does_not_become_part_of_a_summary(talk: Talk) -> None:
    talk.ends(talk.until_wanted(), "Ada likes tea." + FALLBACK.format(model="small"))
    assert talk.summary == "Ada likes tea."


def test_after_a_skipped_call_the_next_answer_asks_again(talk: Talk) -> None:
    """The endpoint or this process had too much to do, which says nothing about the summary."""
    wanted = talk.until_wanted()
    talk.follow(talk.talk.on_summarized(Summarized(wanted.fold, "skipped")))
    talk.says()
    assert len(talk.wanted) == 2


def test_a_failed_call_leads_to_the_trim(talk: Talk) -> None:
    wanted = talk.until_wanted()
    talk.follow(talk.talk.on_summarized(Summarized(wanted.fold, "failed")))
    for _ in range(20):
        call = talk.says()
        assert call.request.estimated_tokens <= call.request.room
    assert call.request.start > 0


def test_a_summary_that_arrives_after_a_restart_changes_nothing(talk: Talk) -> None:
    wanted = talk.until_wanted()
    talk.restarts()
    talk.ends(wanted, "STALE")
    assert talk.summary is None
    assert talk.wanted[-1] is not wanted


# --- what makes it vanish -------------------------------------------------------------------------


def test_a_deleted_turn_takes_its_summary_along_which_is_made_again_at_once(talk: Talk) -> None:
    """The one before it is used meanwhile: it knows nothing of that turn."""
    talk.is_summarized("FIRST")
    second = talk.is_summarized("SECOND")
    gone = numbers(words(second))[2]
    before = len(talk.wanted)
    talk.happens(Deleted, prompt_id=gone)
    (again,) = talk.wanted[before:]
    assert "FIRST" in words(again)[1]
    assert gone not in str(words(again))
    assert numbers(words(again)) == [n for n in numbers(words(second)) if n != gone]
    assert talk.summary == "FIRST"
    talk.ends(again, "AGAIN")
    assert talk.summary == "AGAIN"


def test_a_turn_of_the_first_summary_takes_both_along(talk: Talk) -> None:
    first = talk.is_summarized("FIRST")
    talk.is_summarized("SECOND")
    talk.happens(Deleted, prompt_id=numbers(words(first))[0])
    assert talk.summary is None
    assert b"FIRST" not in talk.talk.dump()
    assert b"SECOND" not in talk.talk.dump()


def test_a_turn_that_is_deleted_during_the_call_ends_in_no_summary(talk: Talk) -> None:
    wanted = talk.until_wanted()
    gone = numbers(words(wanted))[1]
    talk.happens(Deleted, prompt_id=gone)
    assert talk.wanted == [wanted], "one at a time"
    talk.ends(wanted, "STALE")
    assert b"STALE" not in talk.talk.dump()
    assert f"[{gone}]" not in str(words(talk.until_wanted()))


def test_a_summary_that_is_being_continued_can_vanish_during_the_call(talk: Talk) -> None:
    first = talk.is_summarized("FIRST")
    second = talk.until_wanted()
    talk.happens(Deleted, prompt_id=numbers(words(first))[0])
    talk.ends(second, "STALE")
    assert b"STALE" not in talk.talk.dump()
    assert "FIRST" not in str(words(talk.wanted[-1]))


def test_a_deleted_turn_that_memory_no_longer_holds_is_known_by_its_id() -> None:
    talk = Talk(Window(1_000_000, 100_000, "Be kind.", summaries=True))
    talk.is_summarized()
    for _ in range(TURNS_LIMIT):
        talk.says()
        if talk.wanted[1:]:
            talk.ends(talk.wanted.pop())
    assert all(turn.prompt_id != "q1" for turn in talk.talk.turns)
    talk.happens(Deleted, prompt_id="q1")
    assert b"NOTES" not in talk.talk.dump()


def test_other_deletions_leave_a_summary_alone(talk: Talk) -> None:
    talk.is_summarized()
    newest = talk.talk.turns[-1].prompt_id
    for prompt_id in ("unknown", newest):
        talk.happens(Deleted, prompt_id=prompt_id)
    talk.says("elsewhere", OTHER)
    talk.happens(Deleted, prompt_id=talk.talk.turns[-1].prompt_id, place=OTHER)
    assert talk.summary == "NOTES"


@pytest.mark.parametrize("ask_again", [False, True])
def test_an_edited_turn_is_summarized_again_with_its_new_text(
    talk: Talk, *, ask_again: bool
) -> None:
    wanted = talk.is_summarized()
    old = numbers(words(wanted))[1]
    again = talk.happens(Edited, prompt_id=old, text="[q0] CORRECTED", ask_again=ask_again)
    assert b"NOTES" not in talk.talk.dump()
    assert len(again) == ask_again
    made = talk.wanted[-1]
    assert "[q0] CORRECTED" in words(made)
    assert f"[{old}]" not in str(words(made)[3::2])
    talk.ends(made, "MADE AGAIN")
    for call in again:
        talk.answered(call)
        assert b"MADE AGAIN" not in talk.talk.dump(), "the old answer was in it"


def test_an_edit_that_changes_nothing_leaves_the_summary_alone(talk: Talk) -> None:
    """Platforms report one when they add a preview of a link."""
    talk.is_summarized()
    turn = talk.talk.turns[0]
    talk.happens(Edited, prompt_id=turn.prompt_id, text=turn.question)
    assert talk.summary == "NOTES"


def test_an_edit_of_a_turn_that_is_sent_leaves_it_as_it_was_answered(talk: Talk) -> None:
    talk.is_summarized()
    turn = talk.talk.turns[-1]
    talk.happens(Edited, prompt_id=turn.prompt_id, text="CORRECTED")
    assert "CORRECTED" not in str(contents(talk.says()))
    assert talk.summary == "NOTES"


def test_another_answer_to_a_folded_question_is_summarized_instead_of_the_old_one(
    talk: Talk,
) -> None:
    wanted = talk.is_summarized()
    (again,) = talk.happens(Again, prompt_id=numbers(words(wanted))[1])
    assert "NOTES" not in str(contents(again)), "it was asked before that"
    talk.follow(talk.talk.on_reply(reply(again, "[a] NEW ANSWER")))
    assert b"NOTES" not in talk.talk.dump()
    assert "NEW ANSWER" in str(words(talk.wanted[-1]))


@pytest.mark.parametrize(("kind", "place"), [(Reset, THREAD), (Reset, DM), (Forget, OTHER)])
@pytest.mark.parametrize("late", [False, True])
def test_reset_and_forget_take_summaries_along(
    talk: Talk, kind: type, place: Place, *, late: bool
) -> None:
    wanted = talk.until_wanted()
    if not late:
        talk.ends(wanted)
    talk.happens(kind, place=place)
    if late:
        talk.ends(wanted)
    assert b"NOTES" not in talk.talk.dump()
    assert contents(talk.says("hello")) == ["Be kind.", "hello"]


def test_a_reset_of_another_channel_leaves_a_summary_alone(talk: Talk) -> None:
    talk.is_summarized()
    talk.happens(Reset, place=ROOM.model_copy(update={"channel": "C2"}))
    assert talk.summary == "NOTES"


def test_a_summary_survives_when_all_turns_of_its_thread_were_forgotten(talk: Talk) -> None:
    """The person was busy in other threads, and deletes something there."""
    talk.is_summarized()
    for number in range(2 * TURNS_LIMIT):
        talk.says(place=ROOM.model_copy(update={"thread": f"x{number // 3}"}))
    newest = talk.talk.turns[-1]
    assert all(turn.place != THREAD for turn in talk.talk.turns)
    talk.happens(Deleted, prompt_id=newest.prompt_id, place=newest.place)
    assert talk.summary == "NOTES"


# --- how it is stored -----------------------------------------------------------------------------


def summary(number: int, place: Place = THREAD) -> Summary:
    return Summary(place, f"S{number}", 9, number, (digest(f"q{number}"),))


def test_a_restart_keeps_summaries_and_what_they_cover(talk: Talk) -> None:
    wanted = talk.is_summarized()
    before = talk.talk.dump()
    talk.restarts()
    assert talk.talk.dump() == before
    talk.happens(Deleted, prompt_id=numbers(words(wanted))[3])
    assert b"NOTES" not in talk.talk.dump()


def test_a_stored_summary_is_read_by_every_later_version() -> None:
    """Version 2 got summaries, and calls that no reply has reported."""
    stored = Path(__file__).parent / "snapshots" / "conversation.v2b.json"
    talk = Talk()
    talk.talk = Conversation.load(stored.read_bytes(), WINDOW)
    (call,) = talk.follow(talk.talk.on_event(ask(36, place=THREAD), replayed=False))
    assert contents(call)[1].splitlines()[2] == "Ada likes tea. Her locker is 4711."
    assert call.background == (CALL,)
    talk.happens(Deleted, prompt_id="q3")
    assert b"4711" not in talk.talk.dump()


def test_two_summaries_of_a_thread_are_kept_and_know_all_ids() -> None:
    starts = ThreadStarts()
    for number in range(1, 6):
        starts.add(summary(number), summary(number - 1) if number > 1 else None)
    (start,) = starts.by_thread.values()
    assert len(start.summaries) == SUMMARIES_LIMIT
    assert start.first == 6
    assert starts.withdraw(lambda found: digest("q1") in found.covers) == [THREAD]
    assert starts.summary_in(THREAD) is None
    assert starts.first_in(THREAD) == 6, "a start never moves back"


def test_a_summary_of_very_many_turns_assumes_that_an_unknown_id_is_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ids that it no longer knows must not keep a deleted text alive."""
    monkeypatch.setattr(thread_starts, "COVERED_LIMIT", TURNS_LIMIT)
    talk = Talk(Window(1_000_000, 100_000, "Be kind.", summaries=True))
    while len(talk.wanted) < 5:
        talk.is_summarized("NOTES")
    talk.happens(Deleted, prompt_id=talk.talk.turns[-1].prompt_id)
    talk.happens(Deleted, prompt_id="q9999", place=OTHER)
    assert talk.summary == "NOTES", "it cannot cover these"
    talk.happens(Deleted, prompt_id="q1")
    assert talk.summary is None


def test_the_threads_that_were_summarized_last_keep_their_summaries() -> None:
    starts = ThreadStarts()
    places = [ROOM.model_copy(update={"thread": f"t{n}"}) for n in range(SUMMARIZED_LIMIT + 2)]
    for place in places:
        starts.add(summary(7, place), None)
    kept = [place for place in places if starts.summary_in(place) is not None]
    assert kept == places[2:]
    assert starts.first_in(places[0]) == 8


def test_an_older_version_reads_a_snapshot_with_a_summary_as_a_thread_that_was_trimmed(
    talk: Talk,
) -> None:
    """It ignores fields that it does not know, and writes the snapshot without them."""
    talk.is_summarized()
    stored = json.loads(talk.talk.dump())
    (start,) = stored["cuts"].values()
    del start["summaries"], stored["calls"]
    older = Conversation.load(json.dumps(stored).encode(), replace(WINDOW, summaries=False))
    (call,) = calls(older.on_event(ask(999, place=THREAD), replayed=False))
    assert contents(call)[1].startswith(f"[q{start['first']}]")


# --- what it costs --------------------------------------------------------------------------------


def test_the_next_reply_reports_what_a_summary_cost(talk: Talk) -> None:
    """Exactly one does, even if questions of several threads are in progress."""
    talk.ends(talk.until_wanted())
    one = talk.follow(talk.talk.on_event(ask(901, place=THREAD), replayed=False))[0]
    two = talk.follow(talk.talk.on_event(ask(902, place=OTHER), replayed=False))[0]
    assert (one.background, two.background) == ((CALL,), ())
    journaled = reply(one)
    stored = journaled.reply.model_copy(update={"background": one.background})
    talk.talk.on_reply(replace(journaled, reply=stored))
    assert b"prompt_tokens" not in talk.talk.dump()
    assert talk.says(place=ROOM.model_copy(update={"thread": "t3"})).background == ()


def test_a_rejected_summary_is_reported_and_survives_a_restart(talk: Talk) -> None:
    talk.ends(talk.until_wanted(), "")
    talk.restarts()
    assert talk.says().background == (CALL,)


def test_a_reply_without_the_report_leaves_it_to_the_next_one(talk: Talk) -> None:
    """The journal had a reply from before the summary."""
    talk.ends(talk.until_wanted())
    assert talk.says().background == (CALL,)
    assert talk.says().background == (CALL,)


def test_reports_that_nobody_fetches_are_bounded(talk: Talk) -> None:
    talk.ends(talk.until_wanted(), "")
    wanted = talk.wanted[0]
    for _ in range(2 * UNREPORTED_LIMIT):
        talk.ends(wanted)
    assert len(talk.says().background) == UNREPORTED_LIMIT


def test_a_question_of_a_private_channel_is_not_summarized_for_a_public_one() -> None:
    """A summary of a closed channel is not used in its other threads once it is open."""
    closed = CLOSED.model_copy(update={"thread": "t1"})
    talk = Talk(place=closed)
    talk.is_summarized("SECRET")
    for place in (OTHER, ROOM):
        assert "SECRET" not in str(contents(talk.says("now", place)))


def test_the_question_is_worth_more_than_the_summary(talk: Talk) -> None:
    """A question that leaves no room for the summary is asked without it."""
    talk.is_summarized()
    long = Ask(**(ask(950, "x" * 4 * (ROOM_TOKENS - 30), THREAD).model_dump()))
    (call,) = talk.follow(talk.talk.on_event(long, replayed=False))
    assert len(contents(call)) == 2
    assert call.request.estimated_tokens <= call.request.room
