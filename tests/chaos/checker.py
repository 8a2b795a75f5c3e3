"""Judges a world: each rule returns its complaints in plain English, or nothing if all is well.

Pure. `settled_rules` holds the rules that can be judged only when nothing is in progress.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from dataflow.model.errors import NOTICES
from tests.chaos.files import SIGNS
from tests.chaos.memory import remembered, sent_history
from tests.chaos.model import MARKER, QUOTED, TOKEN, Answer, asked_about, content_of
from tests.chaos.said import Said, may_hear
from tests.chaos.world import Event, Reply, World

STOPPED = "(stopped)"
UNFINISHED = ("[typing]", "▌", "(is thinking...)")
BROKEN_OFF = "[The answer broke off here."
NOT_REMEMBERED = "I no longer remember that question"
NOTICE_WORDS = tuple(NOTICES.values())
ALLOWED_OUTCOMES = {"answered", "failed", "stopped", "withdrawn", "refused"}

_QUESTION_LINE = re.compile(r"\A> .*\n")


def settled_rules(world: World) -> list[str]:
    """Returns all complaints, once every message has been processed and nothing is in progress."""
    rules: tuple[Callable[[World], Iterable[str]], ...] = (
        stored_once, answered_once, shown_once, in_order, chained, outcomes_have_a_cause,
        about_the_question, nothing_pending, recorded, pages_are_private,
    )  # fmt: skip
    return [complaint for rule in rules for complaint in rule(world)]


def questions(world: World) -> dict[int, list[Event]]:
    """Returns the stored questions by the number of their act."""
    found: dict[int, list[Event]] = defaultdict(list)
    for event in world.events:
        if event.kind == "ask" and (marker := MARKER.search(event.text)):
            found[int(marker[1])].append(event)
    return found


# --- incoming messages --------------------------------------------------------------------------


def stored_once(world: World) -> Iterator[str]:
    """Each accepted message is stored once. A message that was not for the bot is not stored."""
    stored = questions(world)
    ids = {event.id for event in world.events}
    for number, said in world.said.items():
        count = len(stored[number])
        if not said.done:
            yield f"{_named(said)} is still in progress"
        if said.wants_answer:
            if said.accepted and count == 0:
                yield f"LOST: {_named(said)} was accepted and never stored"
            if count > 1:
                yield f"TWICE: {_named(said)} is stored {count} times"
            for event in stored[number]:
                if event.spot != said.spot:
                    yield f"{_named(said)} is stored for {event.spot}, said in {said.spot}"
        elif said.act.what == "chatter" and count:
            yield f"{_named(said)} was not for the bot and is stored as a question"
        elif (
            said.act.what in {"stop", "reset"} and said.accepted and said.event_id not in ids | {""}
        ):
            yield f"LOST: {_named(said)} was accepted and never stored"


# --- the journal --------------------------------------------------------------------------------


def answered_once(world: World) -> Iterator[str]:
    """Each stored question has exactly one reply, and each reply has a question."""
    counts = Counter(reply.prompt_id for reply in world.replies)
    wanted = {event.id: event for event in world.events if event.wants_answer}
    for event in wanted.values():
        if counts[event.id] != 1:
            yield f"{event.id} ({event.text[:40]!r}) has {counts[event.id]} replies in the journal"
    for prompt_id in counts.keys() - wanted.keys():
        yield f"the journal answers {prompt_id}, which nobody asked"


def outcomes_have_a_cause(world: World) -> Iterator[str]:
    """Each reply that is not an answer has a cause in the stream or in the plan."""
    events = {event.id: event for event in world.events}
    for reply in world.replies:
        event = events.get(reply.prompt_id)
        if event is None:
            continue
        later = [e for e in world.events if e.user == event.user and e.sequence > event.sequence]
        match reply.outcome:
            case "answered":
                good = True
            case "failed":
                good = world.model_failed and _is_notice(reply.text)
            case "stopped":
                good = any(
                    e.kind == "stop" and (e.about == event.id or (not e.about and _same(e, event)))
                    for e in later
                )
            case "withdrawn":
                gone = {event.id, event.about} if event.kind == "again" else {event.id}
                good = any(e.kind == "deleted" and e.about in gone for e in later)
            case "refused":
                good = event.kind == "again" and reply.text.startswith(NOT_REMEMBERED)
            case _:
                good = False
        if not good:
            yield f"{event.id} is {reply.outcome} without a cause: {reply.text[:80]!r}"


def about_the_question(world: World) -> Iterator[str]:
    """The model gave each journaled answer to the question that the reply names."""
    asked = {answer.token: answer.about for answer in world.answers}
    events = {event.id: event for event in world.events}
    for reply in world.replies:
        marker = MARKER.search(reply.question)
        tokens = {int(t) for t in TOKEN.findall(reply.text)}
        if len(tokens) > 1:
            yield f"the reply to {reply.prompt_id} mixes the answers {sorted(tokens)}"
        for token in tokens:
            if marker is None or asked.get(token) != int(marker[1]):
                yield (
                    f"the reply to {reply.prompt_id} ({reply.question[:40]!r}) holds the model's "
                    f"answer {token} to m{asked.get(token)}x"
                )
        event = events.get(reply.prompt_id)
        if event is not None and event.user != reply.user:
            yield f"the reply to {reply.prompt_id} goes to {reply.user}, but {event.user} asked"


# --- the database -------------------------------------------------------------------------------


def recorded(world: World) -> Iterator[str]:
    """The database equals the streams, without the words of deleted questions."""
    if world.recorded is None:
        return
    rows, gone = world.recorded, _deleted(world)
    asked = {event.id: event.text or None for event in world.events if event.wants_answer}
    replied = {reply.prompt_id: (reply.outcome, reply.text) for reply in world.replies}
    for prompt_id, text in asked.items():
        want = None if prompt_id in gone else text
        if prompt_id not in rows.questions:
            yield f"LOST: the question {prompt_id} is not in the database"
        elif rows.questions[prompt_id] != want:
            yield f"the database has other words than {prompt_id}, or those of a deleted question"
    for prompt_id, (outcome, answer) in replied.items():
        if prompt_id not in rows.answers:
            yield f"LOST: the answer to {prompt_id} is not in the database"
        elif rows.answers[prompt_id] != (outcome, None if prompt_id in gone else answer):
            yield f"the database has another answer to {prompt_id}, or one that was deleted"
    known = {event.id for event in world.events}
    for prompt_id in (rows.questions.keys() - known) | (rows.answers.keys() - replied.keys()):
        yield f"the database has {prompt_id}, which is in no stream"


# --- what people see ----------------------------------------------------------------------------


def shown_once(world: World) -> Iterator[str]:
    """Each reply is shown once, completely, in the right place; nothing else is shown."""
    expected = _expected(world)
    for place in sorted(expected.keys() | world.shown.keys()):
        seen = [_QUESTION_LINE.sub("", text) for text in world.shown.get(place, [])]
        for text in seen:
            if text.endswith(UNFINISHED):
                yield f"{place}: left unfinished: {text[:60]!r}"
        answers, notices = _grouped(seen)
        wanted: dict[int, list[str]] = {}
        wanted_notices: Counter[str] = Counter()
        for reply in expected.get(place, []):
            if found := TOKEN.search(reply.text):
                wanted[int(found[1])] = reply.text.split()
            else:
                wanted_notices[_words(reply.text or STOPPED)] += 1
        for token in sorted(wanted.keys() | answers.keys()):
            if token not in answers:
                yield f"LOST: {place}: the journaled answer {token} is not shown"
            elif token not in wanted:
                yield f"TWICE: {place}: shows answer {token}, which the journal has no reply for"
            elif answers[token] != wanted[token]:
                shown, should = len(answers[token]), len(wanted[token])
                twice = "TWICE: " if shown > should else ""
                yield f"{twice}{place}: answer {token} shows {shown} words of {should}"
        for text, count in (wanted_notices - notices).items():
            yield f"LOST: {place}: {count} times not shown: {text[:80]!r}"
        for text, count in (notices - wanted_notices).items():
            yield f"TWICE: {place}: {count} times too often: {text[:80]!r}"


def pages_are_private(world: World) -> Iterator[str]:
    """A person's web page never shows another person's question or answer."""
    for who, numbers in world.on_pages.items():
        for number in sorted(numbers):
            said = world.said.get(number)
            if said is None or _person(said) != ("web", who):
                yield f"MIXED: the page of {who} shows {_of(said)}"


def in_order(world: World) -> Iterator[str]:
    """The answers to a user appear in the order of the journal within each thread.

    There is no exception: each reply names its predecessor, so the replies form a chain. This is
    also the order of the questions, unless the platform delivered them in another order. The answer
    to a Discord command appears in the command's placeholder, whatever was asked before.
    """
    replies = {reply.prompt_id: reply for reply in world.replies}
    by_place: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in world.events:
        if event.wants_answer and event.spot.platform != "gateway":
            by_place[event.shown_at, event.user].append(event)
    for (place, user), events in by_place.items():
        first_seen: dict[int, int] = {}
        for position, text in enumerate(world.shown.get(place, [])):
            if found := TOKEN.search(text):
                first_seen.setdefault(int(found[1]), position)
        shown = []
        for event in events:
            reply = replies.get(event.id)
            found = TOKEN.search(reply.text) if reply else None
            if reply and found and int(found[1]) in first_seen and not event.fills_placeholder:
                shown.append((event, reply, first_seen[int(found[1])]))
        for event, reply, position in shown:
            for other, other_reply, other_position in shown:
                is_earlier = event.said_at < other.said_at and event.sequence < other.sequence
                same_thread = event.spot == other.spot
                must_precede = is_earlier or (same_thread and reply.sequence < other_reply.sequence)
                if must_precede and position > other_position:
                    yield f"ORDER: {place}: {user} reads the answer to {other.id} before {event.id}"


def chained(world: World) -> Iterator[str]:
    """Each reply names an older reply of its thread, and no two replies name the same one."""
    events = {event.id: event for event in world.events}
    replies = {reply.prompt_id: reply for reply in world.replies}
    named: set[str] = set()
    for reply in world.replies:
        if reply.after is None:
            continue
        before, event = replies.get(reply.after), events.get(reply.prompt_id)
        if reply.after in named:
            yield f"ORDER: {reply.after} is the predecessor of two replies"
        named.add(reply.after)
        if before is None or before.sequence > reply.sequence:
            yield f"ORDER: {reply.prompt_id} waits for {reply.after}, which is not older"
        elif event and (older := events.get(reply.after)) and not _same(older, event):
            yield f"ORDER: {reply.prompt_id} waits for another thread's {reply.after}"


# --- what the model is sent ---------------------------------------------------------------------


def unmixed(world: World, answers: Iterable[Answer]) -> Iterator[str]:
    """A request contains only the asker's own messages, from places that may be used here.

    It can also contain quotes from its own thread, marked as quotes.
    """
    for answer in answers:
        asker = world.said.get(answer.about)
        if asker is None:
            yield f"the model was asked m{answer.about}x, which nobody wrote"
            continue
        quoted, own = [], []
        for message in answer.messages:
            text = content_of(message)
            quoted += QUOTED.findall(text)
            own.append(QUOTED.sub("", text))
        for number in _mentioned(world, own):
            said = world.said.get(number)
            if said is None or _person(said) != _person(asker):
                yield f"MIXED: the request for {_named(asker)} holds {_of(said)}"
            elif not may_hear(said.spot, asker.spot):
                yield f"AUDIENCE: the request for {_named(asker)} holds {_of(said)}"
        for number in _mentioned(world, quoted):
            said = world.said.get(number)
            if said is None or (said.spot.channel, said.spot.thread) != (
                asker.spot.channel, asker.spot.thread,
            ):  # fmt: skip
                yield f"AUDIENCE: the request for {_named(asker)} quotes {_of(said)}"


def files_are_sent(world: World, answers: Iterable[Answer]) -> Iterator[str]:
    """The request for a question with a file contains the file."""
    for answer in answers:
        said = world.said.get(answer.about)
        sign = SIGNS[said.act.file] if said and said.act.file else ""
        if said and sign not in content_of(answer.messages[-1]):
            yield f"LOST: the request for {_named(said)} lacks {said.act.file}"


def remembers_what_was_seen(world: World) -> Iterator[str]:
    """The request for each last question contains exactly the turns that this user saw."""
    events = {event.id: event for event in world.events}
    stored = questions(world)
    for number in sorted(world.last_questions):
        requests = [answer for answer in world.answers if answer.about == number]
        if len(stored[number]) != 1 or not requests:
            yield f"the last question m{number}x did not reach the model"
            continue
        event = stored[number][0]
        want = remembered(
            event, [e for e in events.values() if e.user == event.user], world.replies
        )
        got = sent_history(requests[-1].messages)
        if got != want:
            yield (
                f"MEMORY: for {_named(world.said[number])} the model was sent\n"
                f"      here {got[0]}\n   instead of {want[0]}\n"
                f"      elsewhere {sorted(got[1].elements())}\n"
                f"   instead of {sorted(want[1].elements())}"
            )


# --- consumers, processes and logs --------------------------------------------------------------


def nothing_pending(world: World) -> Iterator[str]:
    """No consumer has unread replies, there are no dead letters, and no process ended by itself."""
    for consumer, count in world.unread.items():
        if count:
            yield f"the consumer {consumer} has {count} replies left"
    yield from (f"dead letter: {letter}" for letter in world.dead_letters)
    yield from world.trouble


def clean_logs(logs: dict[str, str], secrets: Iterable[str]) -> Iterator[str]:
    """No log contains a defect, a secret or the text of a message."""
    secrets = tuple(secrets)
    for name, log in logs.items():
        for line in log.splitlines():
            if "defect" in line or '"level":"critical"' in line:
                yield f"DEFECT: {name}: {line[:600]}"
            elif line.startswith("Traceback") or '"exception"' in line:
                yield f"DEFECT: {name}: {line[:1500]}"
            elif any(secret in line for secret in secrets):
                yield f"SECRET: {name}: the log contains a secret"
            elif MARKER.search(line) and '"prompt":"gateway-' not in line:
                yield f"SECRET: {name}: the log contains the text of a message: {line[:200]}"


# --- helpers ------------------------------------------------------------------------------------


def _expected(world: World) -> dict[str, list[Reply]]:
    events = {event.id: event for event in world.events}
    # The web page shows a new answer in place of the old one; other platforms show both.
    replaced = {e.about for e in world.events if e.kind == "again" and e.spot.platform == "web"}
    expected: dict[str, list[Reply]] = defaultdict(list)
    for reply in world.replies:
        event = events.get(reply.prompt_id)
        is_shown = reply.outcome != "withdrawn" and reply.prompt_id not in replaced
        if event is not None and is_shown:
            expected[event.shown_at].append(reply)
    return expected


def _deleted(world: World) -> set[str]:
    """The deleted questions, with those that were asked in their place."""
    gone = {event.about for event in world.events if event.kind == "deleted"}
    for event in world.events:
        if event.about in gone and event.kind in {"again", "edited"}:
            gone.add(event.id)
    return gone


def _grouped(texts: list[str]) -> tuple[dict[int, list[str]], Counter[str]]:
    """Returns the words of each answer, joined from its parts, and all other texts."""
    answers: dict[int, list[str]] = defaultdict(list)
    notices: Counter[str] = Counter()
    for text in texts:
        if found := TOKEN.search(text):
            answers[int(found[1])] += text.split()
        elif not text.endswith(UNFINISHED):
            notices[_words(text)] += 1
    return answers, notices


def _mentioned(world: World, texts: Iterable[str]) -> set[int]:
    """Returns the acts whose text, or the text of whose answer, appears in these texts."""
    about = {answer.token: answer.about for answer in world.answers}
    found: set[int] = set()
    for text in texts:
        found |= {int(number) for number in MARKER.findall(text)}
        found |= {about.get(int(token), 0) for token in TOKEN.findall(text)}
    return found


def _is_notice(text: str) -> bool:
    return text in NOTICE_WORDS or (BROKEN_OFF in text and any(n in text for n in NOTICE_WORDS))


def _same(one: Event, other: Event) -> bool:
    return (one.spot.channel, one.spot.thread) == (other.spot.channel, other.spot.thread)


def _person(said: Said) -> tuple[str, str]:
    return said.act.platform, said.act.who


def _named(said: Said) -> str:
    act, spot = said.act, said.spot
    return f"#{act.number} ({act.who}'s {act.what} in {spot.channel}/{spot.thread})"


def _of(said: Said | None) -> str:
    return _named(said) if said is not None else "words that nobody wrote"


def _words(text: str) -> str:
    return " ".join(text.split())


__all__ = ["asked_about", "clean_logs", "remembers_what_was_seen", "settled_rules", "unmixed"]
