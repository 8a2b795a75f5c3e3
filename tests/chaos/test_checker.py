"""The checker finds every mistake: each of these worlds has one, and one world has none."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos import checker
from tests.chaos.memory import remembered
from tests.chaos.model import Answer
from tests.chaos.plan import Act, campaign_plan
from tests.chaos.said import Audience, Said, Spot, may_hear
from tests.chaos.world import Event, Recorded, Reply, World

START = datetime(2026, 1, 1, tzinfo=UTC)
NOTICE = "My language model stopped responding. Please try again."


def spot(channel: str, thread: str, audience: Audience) -> Spot:
    return Spot("slack", "T1", channel, thread, audience)


ROOM_THREAD = spot("CROOM", "1", "public")
SECRET_THREAD = spot("CSECRET", "2", "private")
DIRECT_THREAD = spot("DADA", "3", "direct")


def add(
    world: World, number: int, who: str, here: Spot, *, outcome: str = "answered", text: str = ""
) -> None:
    """Adds a question that was asked, answered and shown."""
    act = Act(number, 0.0, "slack", who, "ask", "room")
    place = f"slack/{here.channel}/{here.thread}"
    world.said[number] = Said(act, here, place, done=True, accepted=True)
    question = f"m{number}x please tell"
    answer = text or f"t{number}w0 re m{number}x t{number}w1"
    user = f"slack:T1-{who}"
    history = [
        {"role": "user" if at % 2 == 0 else "assistant", "content": words}
        for event, reply in zip(world.events, world.replies, strict=True)
        if event.user == user and event.spot == here
        for at, words in enumerate((event.text, reply.text))
    ]
    messages = [{"role": "system", "content": "You are helpful."}, *history,
                {"role": "user", "content": question}]  # fmt: skip
    world.answers.append(Answer(number, number, messages))
    world.events.append(
        Event(number, f"p{number}", "ask", user, here, question, "",
              START + timedelta(seconds=number), place)
    )  # fmt: skip
    before = [e.id for e in world.events[:-1] if (e.user, e.spot) == (user, here)]
    after = before[-1] if before else None
    world.replies.append(Reply(number, f"p{number}", user, outcome, answer, question, after))
    world.shown.setdefault(place, []).append(answer)


def good_world() -> World:
    """Ada asks three times in the room and once directly, Bob once in the private channel.

    All is well.
    """
    world = World()
    add(world, 1, "UADA", ROOM_THREAD)
    add(world, 2, "UADA", ROOM_THREAD)
    add(world, 3, "UADA", DIRECT_THREAD)
    add(world, 4, "UBOB", SECRET_THREAD)
    add(world, 5, "UADA", ROOM_THREAD)
    world.last_questions = {5}
    # Messages from public channels appear in direct conversations, marked as background.
    background = "<background>\nEarlier:\nThey: m1x please tell\nYou: t1w0 t1w1\n</background>\n\n"
    question = world.answers[2].messages[-1]
    question["content"] = background + question["content"]
    world.recorded = Recorded(
        {event.id: event.text for event in world.events},
        {reply.prompt_id: (reply.outcome, reply.text) for reply in world.replies},
    )
    return world


def found(world: World) -> list[str]:
    return [
        *checker.settled_rules(world),
        *checker.unmixed(world, world.answers),
        *checker.files_are_sent(world, world.answers),
        *checker.remembers_what_was_seen(world),
    ]


def test_a_good_world_has_no_violation() -> None:
    """Without this test, the tests with mistakes would prove nothing."""
    assert found(good_world()) == []


ROOM_PLACE, SECRET_PLACE = "slack/CROOM/1", "slack/CSECRET/2"


def shown_twice(world: World) -> None:
    world.shown[ROOM_PLACE].append(world.shown[ROOM_PLACE][0])


def another_answer_shown_too(world: World) -> None:
    world.shown[ROOM_PLACE].append("t77w0 re m1x t77w1")


def not_shown(world: World) -> None:
    del world.shown[ROOM_PLACE][1]


def cut_short(world: World) -> None:
    world.shown[ROOM_PLACE][1] = "t2w0 re"


def a_part_twice(world: World) -> None:
    world.shown[ROOM_PLACE][1:1] = ["t2w0 re m2x"]


def left_unfinished(world: World) -> None:
    world.shown[ROOM_PLACE][2] += " ▌"


def in_a_wrong_place(world: World) -> None:
    world.shown[SECRET_PLACE].append(world.shown[ROOM_PLACE].pop(0))


def swapped(world: World) -> None:
    first, second, last = world.shown[ROOM_PLACE]
    world.shown[ROOM_PLACE] = [second, first, last]


def said_and_journaled_in_the_other_order(world: World) -> None:
    """The platform delivered an event late: the order of the journal counts."""
    swapped(world)
    world.events[1] = replace(world.events[1], said_at=START)


def two_after_one(world: World) -> None:
    world.replies[4] = replace(world.replies[4], after="p1")


def after_a_newer_one(world: World) -> None:
    world.replies[0] = replace(world.replies[0], after="p5")


def after_another_thread(world: World) -> None:
    world.replies[4] = replace(world.replies[4], after="p3")


def never_stored(world: World) -> None:
    del world.events[3]
    del world.replies[3]
    del world.shown[SECRET_PLACE]


def stored_twice(world: World) -> None:
    world.events.append(replace(world.events[3], sequence=9, id="p4again"))
    world.replies.append(replace(world.replies[3], sequence=9, prompt_id="p4again"))


def never_answered(world: World) -> None:
    del world.replies[3]
    del world.shown[SECRET_PLACE]


def answered_unasked(world: World) -> None:
    world.replies.append(replace(world.replies[3], prompt_id="p99", text="t4w0"))


def answers_exchanged(world: World) -> None:
    one, other = world.replies[0], world.replies[1]
    world.replies[0], world.replies[1] = (
        replace(one, text=other.text), replace(other, text=one.text),
    )  # fmt: skip


def failed_without_a_fault(world: World) -> None:
    world.replies[3] = replace(world.replies[3], outcome="failed", text=NOTICE)
    world.shown[SECRET_PLACE] = [NOTICE]


def notice_twice(world: World) -> None:
    failed_without_a_fault(world)
    world.model_failed = True
    world.shown[SECRET_PLACE] *= 2


def stopped_by_nobody(world: World) -> None:
    world.replies[3] = replace(world.replies[3], outcome="stopped")


def somebody_elses_words(world: World) -> None:
    world.answers[0].messages[0]["content"] += " m4x please tell"


def somebody_elses_answer(world: World) -> None:
    world.answers[0].messages[0]["content"] += " t4w1"


def direct_words_in_the_room(world: World) -> None:
    world.answers[4].messages[0]["content"] += "\n\nEarlier:\nThey: m3x please tell\nYou: t3w0"


def quoted_from_elsewhere(world: World) -> None:
    world.answers[0].messages[-1]["content"] = (
        "<quoted>\n[Bob] m4x please tell\n</quoted>\n\nm1x please tell"
    )


def a_file_that_was_not_sent(world: World) -> None:
    world.said[4].act = replace(world.said[4].act, file="cat.png")


def forgotten_turn(world: World) -> None:
    del world.answers[4].messages[1:3]


def turn_that_was_reset(world: World) -> None:
    reset = replace(world.events[0], sequence=3, id="r", kind="reset", text="")
    world.events.append(reset)


def unread_reply(world: World) -> None:
    world.unread["slack"] = 1


def a_dead_letter(world: World) -> None:
    world.dead_letters.append("replies.slack.x")


def on_another_persons_page(world: World) -> None:
    act = replace(world.said[4].act, platform="web")
    world.said[4].act = act
    world.on_pages = {act.who: {4}, "somebody else": {4}}


def recorded(world: World) -> Recorded:
    assert world.recorded is not None
    return world.recorded


def question_not_recorded(world: World) -> None:
    del recorded(world).questions["p2"]


def answer_not_recorded(world: World) -> None:
    del recorded(world).answers["p2"]


def another_answer_recorded(world: World) -> None:
    recorded(world).answers["p2"] = ("answered", "t1w0")


def recorded_from_nowhere(world: World) -> None:
    recorded(world).questions["p99"] = "m99x"


def deleted_words_recorded(world: World) -> None:
    world.events.append(
        replace(world.events[1], sequence=9, id="d", kind="deleted", text="", about="p2")
    )


def chatter_was_answered(world: World) -> None:
    act = world.said[4].act
    world.said[4].act = replace(act, what="chatter")


MISTAKES: dict[Callable[[World], None], str] = {
    shown_twice: "TWICE",
    another_answer_shown_too: "TWICE",
    not_shown: "LOST",
    cut_short: "words of",
    a_part_twice: "TWICE",
    left_unfinished: "left unfinished",
    in_a_wrong_place: "TWICE",
    swapped: "ORDER",
    said_and_journaled_in_the_other_order: "ORDER",
    two_after_one: "predecessor of two replies",
    after_a_newer_one: "not older",
    after_another_thread: "another thread's",
    never_stored: "LOST",
    stored_twice: "TWICE",
    never_answered: "0 replies",
    answered_unasked: "nobody asked",
    answers_exchanged: "holds the model's answer",
    failed_without_a_fault: "without a cause",
    notice_twice: "TWICE",
    stopped_by_nobody: "without a cause",
    somebody_elses_words: "MIXED",
    somebody_elses_answer: "MIXED",
    direct_words_in_the_room: "AUDIENCE",
    quoted_from_elsewhere: "AUDIENCE",
    a_file_that_was_not_sent: "lacks cat.png",
    forgotten_turn: "MEMORY",
    turn_that_was_reset: "MEMORY",
    unread_reply: "replies left",
    a_dead_letter: "dead letter",
    on_another_persons_page: "the page of somebody else shows",
    question_not_recorded: "the question p2 is not in the database",
    answer_not_recorded: "the answer to p2 is not in the database",
    another_answer_recorded: "another answer to p2",
    recorded_from_nowhere: "in no stream",
    deleted_words_recorded: "those of a deleted question",
    chatter_was_answered: "not for the bot",
}


@pytest.mark.parametrize("plant", MISTAKES, ids=lambda plant: plant.__name__)
def test_a_planted_mistake_is_found(plant: Callable[[World], None]) -> None:
    """The rule made for this mistake complains."""
    world = good_world()
    plant(world)
    assert any(MISTAKES[plant] in complaint for complaint in found(world)), found(world)


def test_a_placeholder_appears_where_its_command_was_used() -> None:
    """It can appear above the answer to an earlier question; other messages cannot."""
    world = good_world()
    swapped(world)
    world.events[1] = replace(world.events[1], fills_placeholder=True)
    assert list(checker.in_order(world)) == []


def test_a_new_answer_replaces_the_old_one_on_the_web_page() -> None:
    """The old answer must be gone, and the new one in its position."""
    world = World()
    page = Spot("web", "", "web", "c", "direct")
    add(world, 1, "wen", page)
    add(world, 2, "wen", page)
    shown = world.shown.pop("slack/web/c")
    again = replace(
        world.events[0], sequence=3, id="p3", kind="again", text="", about="p1",
        fills_placeholder=True,
    )  # fmt: skip
    world.events = [replace(event, shown_at="web/c") for event in (*world.events, again)]
    newer = replace(world.replies[0], sequence=3, prompt_id="p3", text="t3w0 re m1x", after="p2")
    world.replies.append(newer)
    world.shown["web/c"] = [newer.text, shown[1]]
    rules = (checker.shown_once, checker.in_order)
    assert [complaint for rule in rules for complaint in rule(world)] == []
    world.shown["web/c"] = [shown[0], shown[1], newer.text]
    assert any(complaint.startswith("TWICE") for complaint in checker.shown_once(world))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"event":"defect while answering"}', "DEFECT"),
        ('{"event":"went down","level":"critical"}', "DEFECT"),
        ("Traceback (most recent call last):", "DEFECT"),
        ('{"url":"nats://u:hunter2@h"}', "SECRET"),
        ('{"text":"m12x please tell"}', "SECRET"),
        ('{"prompt":"slack-T1-C-1","event":"posted"}', ""),
        ('{"prompt":"gateway-gil-m12x","event":"answered"}', ""),
    ],
)
def test_defects_secrets_and_texts_are_found_in_logs(line: str, words: str) -> None:
    """Defects, secrets and texts of messages are found; ordinary lines are not."""
    complaints = list(checker.clean_logs({"slack-1": line}, ["hunter2"]))
    assert bool(complaints) is bool(words)
    assert all(words in complaint for complaint in complaints)


def test_messages_are_used_only_where_they_may_be() -> None:
    """Checks the suite's own rule, by which requests are judged."""
    other = spot("COTHER", "", "public")
    next_thread = spot("CROOM", "9", "public")
    allowed = {
        (ROOM_THREAD, DIRECT_THREAD), (SECRET_THREAD, DIRECT_THREAD), (other, DIRECT_THREAD),
        (next_thread, DIRECT_THREAD), (ROOM_THREAD, next_thread), (next_thread, ROOM_THREAD),
    }  # fmt: skip
    spots = (ROOM_THREAD, SECRET_THREAD, DIRECT_THREAD, other, next_thread)
    heard = {(a, b) for a in spots for b in spots if a != b and may_hear(a, b)}
    assert heard == allowed


def test_deleting_a_question_also_forgets_its_newer_answer() -> None:
    world = good_world()
    asked, last = world.events[0], world.events[1]
    again = replace(asked, sequence=10, id="p1again", kind="again", about="p1")
    deleted = replace(asked, sequence=11, id="p1gone", kind="deleted", about="p1")
    newer = replace(world.replies[0], sequence=10, prompt_id="p1again", text="newer")
    last = replace(last, sequence=12)
    replies = [world.replies[0], newer]
    assert remembered(last, [asked, again], replies)[0] == [(asked.text, "newer")]
    assert remembered(last, [asked, again, deleted], replies)[0] == []


def test_the_seed_decides_the_plan() -> None:
    """The same seed draws the same rounds; another seed or campaign draws other rounds."""
    plan = campaign_plan(7, 0, 5)
    assert plan == campaign_plan(7, 0, 5)
    assert plan[:3] == campaign_plan(7, 0, 3)
    assert plan != campaign_plan(8, 0, 5)
    assert plan != campaign_plan(7, 1, 5)
