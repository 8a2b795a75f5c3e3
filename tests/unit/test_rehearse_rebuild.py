"""Requests are rebuilt from events and replies, and results survive a crash."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataflow.conversation import Conversation
from dataflow.effects import CallModel
from dataflow.tokens import Window
from ops.rehearse.errors import WrongUsage
from ops.rehearse.pair import Answer, Pair
from ops.rehearse.rebuild import (
    Logged,
    Rebuilt,
    Skipped,
    decision_in,
    in_order,
    rebuilt,
    was_asked_of_model,
)
from ops.rehearse.results_file import (
    RESULTS_FILE,
    Asked,
    Choice,
    Judged,
    LeftOut,
    ResultsFile,
    choice_in,
    write_choice,
)
from ops.rehearse.streams import Chosen
from shared.messages import (
    Again,
    Attachment,
    Configure,
    Deleted,
    Edited,
    Event,
    Forget,
    Quote,
    Reset,
    Stop,
)
from shared.replies import BackgroundCall, Journaled, Reply, Timings, Usage
from tests.running import direct, question

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
WINDOW = Window(4096, 1024, "You are helpful.", summaries=True)
HEAD: dict[str, Any] = {"user": "test:ada", "place": direct("ada"), "said_at": START}


class Log:
    """Plays a conversation, and writes down what the streams would have of it."""

    def __init__(self, window: Window = WINDOW) -> None:
        self.logged: list[Logged] = []
        self.sent: dict[str, CallModel] = {}
        """The requests that were really made, by question."""
        self._conversation = Conversation(window, "test:ada")

    def _now(self) -> datetime:
        return START + timedelta(seconds=len(self.logged))

    def say(self, event: Event) -> None:
        self.logged.append(Logged(self._now(), event))  # type: ignore[arg-type]
        self._note(self._conversation.on_event(event, replayed=False))  # type: ignore[arg-type]

    def answer(self, prompt_id: str, text: str = "", **fields: Any) -> None:
        ask = self.sent[prompt_id].ask
        reply = Reply(
            **{
                "prompt_id": prompt_id, "user": "test:ada", "place": ask.place,
                "outcome": "answered", "text": text or f"answer to {prompt_id}",
                "prompt_text": ask.text, "model": "old", "said_at": START, "answered_at": START,
                "usage": Usage(prompt_tokens=90, completion_tokens=9),
                "after": self.sent[prompt_id].after, **fields,
            }
        )  # fmt: skip
        self.logged.append(Logged(self._now(), Journaled(reply)))
        self._note(self._conversation.on_reply(Journaled(reply)))

    def ask(self, number: int, text: str = "", **fields: Any) -> str:
        ask = question("ada", number, text or f"question {number}", **fields)
        self.say(ask)
        self.answer(ask.id)
        return ask.id

    def _note(self, effects: Any) -> None:
        self.sent |= {effect.ask.id: effect for effect in effects if isinstance(effect, CallModel)}

    def rebuilt(self, *wanted: str, window: Window = WINDOW) -> dict[str, Rebuilt | Skipped]:
        found = rebuilt("test:ada", in_order(self.logged), set(wanted), window)
        return {
            item.reply.prompt_id if isinstance(item, Rebuilt) else item.prompt_id: item
            for item in found
        }


def the_same(log: Log, *wanted: str) -> None:
    """Each request is exactly the one that was sent."""
    found = log.rebuilt(*wanted)
    assert set(found) == set(wanted)
    for prompt_id, item in found.items():
        assert isinstance(item, Rebuilt), item
        assert item.messages == log.sent[prompt_id].request.messages
        assert item.complete


def test_a_follow_up_question_keeps_the_old_answers() -> None:
    log = Log()
    ids = [log.ask(number) for number in range(5)]
    the_same(log, *ids)
    last = log.rebuilt(ids[-1])[ids[-1]]
    assert isinstance(last, Rebuilt)
    assert f"answer to {ids[0]}" in str(last.messages)


def test_threads_backgrounds_quotes_and_files_are_the_same() -> None:
    log = Log()
    other = direct("ada").model_copy(update={"thread": "7"})
    file = Attachment(name="a.txt", media_type="text/plain", text="contents of the file")
    ids = [
        log.ask(1, quotes=(Quote(author="Bob", text="It is broken."),)),
        log.ask(2, place=other, attachments=(file,)),
        log.ask(3, place=other, persona="You are a pirate."),
        log.ask(4),
    ]
    the_same(log, *ids)


def test_a_long_conversation_is_trimmed_in_the_same_way() -> None:
    log = Log()
    ids = [log.ask(number, f"{number} " + "word " * 200) for number in range(30)]
    the_same(log, *ids)
    assert "question 0" not in str(log.sent[ids[-1]].request.messages)


def test_what_people_did_meanwhile_is_played_too() -> None:
    log = Log()
    first = log.ask(1)
    log.say(Again(id="again-1", prompt_id=first, **HEAD))
    log.answer("again-1")
    log.say(Reset(id="reset-1", **HEAD))
    second = log.ask(2)
    log.say(Edited(id="edit-1", prompt_id=second, text="better", ask_again=True, **HEAD))
    log.answer("edit-1")
    third = log.ask(3)
    the_same(log, first, "again-1", second, "edit-1", third)


def test_a_question_that_was_edited_before_its_answer_is_asked_as_edited() -> None:
    log = Log()
    ask = question("ada", 1, "helo")
    log.say(ask)
    log.say(Edited(id="edit-1", prompt_id=ask.id, text="hello", **HEAD))
    log.answer(ask.id)
    the_same(log, ask.id)
    assert log.sent[ask.id].ask.text == "hello"


def test_the_second_question_of_a_thread_waits_for_the_first() -> None:
    log = Log()
    one, two = question("ada", 1, "first"), question("ada", 2, "second")
    log.say(one)
    log.say(two)
    log.answer(one.id)
    log.answer(two.id)
    the_same(log, one.id, two.id)


def test_deleted_questions_are_in_no_request() -> None:
    """Not even in one that was sent before the deletion."""
    log = Log()
    first, second = log.ask(1, "xylophone"), log.ask(2)
    log.say(Again(id="again-1", prompt_id=first, **HEAD))
    log.answer("again-1")
    third = log.ask(3)
    log.say(Deleted(id="del-1", prompt_id=first, **HEAD))
    found = log.rebuilt(first, second, "again-1", third)
    assert found[first] == Skipped(first, "deleted")
    assert found["again-1"] == Skipped("again-1", "deleted")
    for prompt_id in (second, third):
        item = found[prompt_id]
        assert isinstance(item, Rebuilt)
        assert "xylophone" in str(log.sent[second].request.messages)
        assert "xylophone" not in str(item.messages)


def test_a_question_without_a_reply_holds_up_nobody() -> None:
    log = Log()
    first = log.ask(1)
    lost = question("ada", 2, "lost")
    later = Log()
    later.logged = [*log.logged, Logged(START + timedelta(seconds=9), lost)]
    third = question("ada", 3, "third")
    later.logged.append(Logged(START + timedelta(seconds=10), third))
    reply = log.logged[1].value
    assert isinstance(reply, Journaled)
    again = reply.reply.model_copy(update={"prompt_id": third.id, "prompt_text": "third"})
    later.logged.append(Logged(START + timedelta(seconds=11), Journaled(again)))
    assert isinstance(later.rebuilt(third.id, first)[third.id], Rebuilt)


def test_pictures_are_left_out() -> None:
    log = Log()
    picture = Attachment(name="a.png", media_type="image/png", blob="test-1")
    prompt_id = log.ask(1, attachments=(picture,))
    assert log.rebuilt(prompt_id) == {prompt_id: Skipped(prompt_id, "has pictures")}


def test_another_prompt_replaces_the_usual_one_only() -> None:
    log = Log()
    usual, own = log.ask(1), log.ask(2, persona="You are a pirate.")
    found = log.rebuilt(usual, own, window=Window(4096, 1024, "Be brief."))
    heads = [item.messages[0]["content"] for item in found.values() if isinstance(item, Rebuilt)]
    assert heads == ["Be brief.", "You are a pirate."]


def test_a_request_with_an_older_beginning_is_not_complete() -> None:
    log = Log()
    ask = question("ada", 1, "Hello?")
    log.say(ask)
    log.answer(ask.id, after="ada-0")
    item = log.rebuilt(ask.id)[ask.id]
    assert isinstance(item, Rebuilt)
    assert not item.complete


def test_a_request_after_a_summary_is_not_complete() -> None:
    log = Log()
    first = question("ada", 1, "Hello?")
    log.say(first)
    log.answer(first.id, background=(BackgroundCall(kind="summary", model="old"),))
    second = log.ask(2)
    item = log.rebuilt(second)[second]
    assert isinstance(item, Rebuilt)
    assert not item.complete


def test_only_replies_of_the_model_are_compared() -> None:
    head: dict[str, Any] = {
        "prompt_id": "q", "user": "test:ada", "place": direct("ada"), "text": "x",
        "said_at": START, "answered_at": START,
    }  # fmt: skip
    called = Timings(called_at=START)
    assert was_asked_of_model(Reply(outcome="answered", model="m", **head))
    assert was_asked_of_model(Reply(outcome="failed", timings=called, **head))
    assert not was_asked_of_model(Reply(outcome="failed", **head))
    for outcome in ("stopped", "withdrawn", "refused"):
        assert not was_asked_of_model(Reply(outcome=outcome, timings=called, **head))


@pytest.mark.parametrize(
    ("events", "decision"),
    [
        ([], None),
        ([Configure(id="c", settings={"language": "de"}, **HEAD)], None),
        ([Configure(id="c", settings={"training": "no"}, **HEAD)], False),
        ([Configure(id="c", settings={"training": "no"}, **HEAD),
          Configure(id="d", settings={"training": "yes"}, **HEAD)], True),
        ([Configure(id="c", settings={"training": "yes"}, **HEAD), Forget(id="f", **HEAD)], False),
        ([Stop(id="s", **HEAD)], None),
    ],
)  # fmt: skip
def test_decisions_are_read_from_the_stream(events: list[Any], decision: bool | None) -> None:
    assert decision_in([Logged(START, event) for event in events]) is decision


# --- the file of results --------------------------------------------------------------------------


def pair(prompt_id: str, user: str = "test:ada", text: str = "Hi\n\u2028<b>") -> Pair:
    old = Answer("answered", text, "old", usage=Usage(prompt_tokens=3, cached_tokens=1))
    new = Answer("answered", text, "new", cost_microdollars=7, first_text_ms=20, whole_ms=30)
    return Pair(prompt_id, user, "test/ada", "question?", 3, complete=True, old=old, new=new)


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Iterator[ResultsFile]:
    file = ResultsFile(tmp_path)
    yield file
    file.close()


def reopened(folder: Path) -> ResultsFile:
    return ResultsFile(folder)


def test_results_are_read_again(file: ResultsFile, tmp_path: Path) -> None:
    file.add(Asked(pair("q-1")))
    file.add(Judged("q-1", "new", "old", asked=2, cost_microdollars=5))
    file.add(LeftOut(Skipped("q-2", "deleted")))
    again = reopened(tmp_path)
    assert again.results == file.results
    assert again.results.spent_microdollars == 12
    assert (tmp_path / RESULTS_FILE).stat().st_mode & 0o077 == 0
    again.close()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_an_unfinished_line_is_cut_off(file: ResultsFile, tmp_path: Path, cut: int) -> None:
    file.add(Asked(pair("q-1")))
    whole = (tmp_path / RESULTS_FILE).read_bytes()
    file.add(Asked(pair("q-2")))
    path = tmp_path / RESULTS_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    again = reopened(tmp_path)
    assert list(again.results.pairs) == ["q-1"]
    again.add(Asked(pair("q-3")))
    again.close()
    assert path.read_bytes().startswith(whole)
    last = reopened(tmp_path)
    assert list(last.results.pairs) == ["q-1", "q-3"]
    last.close()


def test_people_who_opt_out_later_leave_the_file(file: ResultsFile, tmp_path: Path) -> None:
    file.add(Asked(pair("q-1", "test:eve", "xylophone")))
    file.add(Judged("q-1", "new", "new", asked=2, cost_microdollars=5))
    file.add(Asked(pair("q-2")))
    file.drop_people({"test:eve"})
    file.add(Asked(pair("q-3")))
    assert b"xylophone" not in (tmp_path / RESULTS_FILE).read_bytes()
    again = reopened(tmp_path)
    assert list(again.results.pairs) == ["q-2", "q-3"]
    assert again.results.judged == {}
    assert again.results.left_out == {"q-1": Skipped("q-1", "the person opted out")}
    again.close()


def test_the_choice_is_kept(tmp_path: Path) -> None:
    choice = Choice("now", "m", "here", "", "", "", 2, (Chosen("test:ada", "q-1"),))
    assert choice_in(tmp_path) is None
    write_choice(tmp_path, choice)
    assert choice_in(tmp_path) == choice
    (tmp_path / "choice.json").write_text('{"v": 9}\n')
    with pytest.raises(WrongUsage, match="--out"):
        choice_in(tmp_path)
