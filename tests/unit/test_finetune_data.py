"""Reading training data: every bad line is named, and held-out examples stay the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.finetune.chat_file import Example, Fault, Message, example_of, people_of, read_chat_file
from ops.finetune.errors import BadInput
from ops.finetune.scores import is_exact, is_right, scores_of
from ops.finetune.split import split


def line(*said: str, **more: object) -> bytes:
    """A conversation in which the user and the assistant take turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    return json.dumps({"messages": messages, **more}).encode()


def example(question: str, answer: str = "yes", expect: tuple[str, ...] = ()) -> Example:
    return Example(
        1, (Message("user", question, trained=False), Message("assistant", answer)), expect
    )


def message(role: object, content: object, **more: object) -> bytes:
    listed = [{"role": role, "content": content, **more}, {"role": "assistant", "content": "a"}]
    return json.dumps({"messages": listed}).encode()


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (b"\xff", "not UTF-8"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "object with a list"),
        (b'{"messages": {}}', "object with a list"),
        (b'{"messages": []}', "last message"),
        (b'{"messages": [1]}', "message 1 is not an object"),
        (line("q"), "last message"),
        (line("q", " "), "message 2 is empty"),
        (message("boss", "q"), "message 1 has no role of"),
        (message(["user"], "q"), "message 1 has no role of"),
        (message("user", None), "message 1 has no text"),
        (message("user", [{"type": "text", "text": "q"}]), "message 1 has no text"),
        (message("user", "a\0b"), "not text"),
        (message("user", "\ud83d"), "not text"),
        (message("user", "q", weight=2), "weight"),
        (message("tool", "q"), "calls a tool"),
        (message("assistant", "q"), "begin with a user message"),
        (line("q", "a", expect=1), "expect"),
        (line("q", "a", expect=[""]), "expect"),
    ],
)
def test_a_bad_line_is_explained(bad: bytes, fault: str) -> None:
    found = example_of(7, bad)
    assert isinstance(found, Fault)
    assert found.line == 7
    assert fault in found.text


def test_a_system_message_can_only_be_the_first() -> None:
    listed = [
        {"role": "user", "content": "q"},
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "a"},
    ]
    found = example_of(1, json.dumps({"messages": listed}).encode())
    assert found == Fault(1, "a system message can only be the first one")


def test_an_answer_of_weight_0_gives_context_only() -> None:
    listed = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "wrong", "weight": 0},
        {"role": "user", "content": "really?"},
        {"role": "assistant", "content": "a"},
    ]
    found = example_of(1, json.dumps({"messages": listed}).encode())
    assert isinstance(found, Example)
    assert [each.trained for each in found.messages] == [False, False, False, True]
    listed[-1]["weight"] = 0
    assert isinstance(example_of(1, json.dumps({"messages": listed}).encode()), Fault)


@given(st.binary() | st.text().map(str.encode))
def test_any_line_is_an_example_or_a_fault(contents: bytes) -> None:
    assert isinstance(example_of(1, contents), Example | Fault)


def test_a_file_with_bad_lines_names_them_all(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    good = line("q", "a")
    file.write_bytes(b"\n".join([good, b"{", b"", good, line("q")] + [b"{"] * 30))
    with pytest.raises(BadInput) as caught:
        read_chat_file(file)
    text = str(caught.value)
    assert "32 lines" in text
    assert "line 2: it is not JSON" in text
    assert "line 5: the last message" in text
    assert "line 1:" not in text
    assert text.rstrip().endswith("33, 34, 35")


def test_a_file_is_read_in_order_with_its_line_numbers(tmp_path: Path) -> None:
    """Windows' byte order mark and line ends do not matter."""
    file = tmp_path / "data.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + line("q", "a") + b"\r\n\r\n" + line("r", "b") + b"\r\n")
    found = read_chat_file(file)
    assert [(each.line, each.answer) for each in found.examples] == [(1, "a"), (3, "b")]


@pytest.mark.parametrize("contents", [None, b"", b"\n \n"])
def test_a_missing_or_empty_file_is_refused(contents: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    if contents is not None:
        file.write_bytes(contents)
    with pytest.raises(BadInput, match=r"data\.jsonl"):
        read_chat_file(file)


def test_the_people_of_an_export_are_known(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    assert people_of(file) == ()
    manifest = tmp_path / "data.jsonl.manifest.json"
    manifest.write_text('{"people": ["slack:a", "terminal:b"], "other": 1}')
    assert people_of(file) == ("slack:a", "terminal:b")
    for bad in ("{", "[]", '{"people": [1]}', '{"people": "a"}'):
        manifest.write_text(bad)
        with pytest.raises(BadInput, match="export the data again"):
            people_of(file)


examples = st.lists(st.text(min_size=1), unique=True, max_size=60).map(
    lambda questions: [example(question) for question in questions]
)


@given(examples, st.lists(st.text(), max_size=20), st.floats(0, 0.9))
def test_a_growing_file_keeps_its_held_out_examples(
    first: list[Example], more: list[str], share: float
) -> None:
    """Except for those that only fill up a small file."""
    by_hash = [each for each in first if int(each.digest[:8], 16) < share * 16**8]
    held_out = split([*first, *map(example, more)], share).held_out
    assert set(by_hash) <= set(held_out)


@given(examples, st.floats(0, 0.9))
def test_every_example_is_trained_or_held_out(given_: list[Example], share: float) -> None:
    found = split(given_, share)
    assert sorted([*found.trained, *found.held_out], key=str) == sorted(given_, key=str)
    assert not {each.digest for each in found.trained} & {each.digest for each in found.held_out}


def test_a_small_file_gives_up_a_fifth_at_most() -> None:
    assert len(split([example(str(n)) for n in range(10)], 0.1).held_out) >= 2
    assert len(split([example(str(n)) for n in range(60)], 0.01).held_out) >= 5
    assert not split([example("q")], 0.1).held_out
    assert not split([example(str(n)) for n in range(60)], 0).held_out


def test_other_answers_to_a_question_are_held_out_with_it() -> None:
    both = [example("q", "a"), example("q", "b")]
    found = split([*both, *(example(str(n)) for n in range(40))], 0.1)
    assert set(both) <= set(found.trained) or set(both) <= set(found.held_out)


def test_an_answer_is_right_if_it_contains_what_is_expected() -> None:
    asked = example("q", "Your name is Ada.", ("Ada",))
    assert is_right(asked, "ada, of course!")
    assert not is_right(asked, "Adam")
    assert not is_right(asked, "")
    assert not is_exact(asked, "Ada")
    assert is_exact(asked, "your name is Ada")
    whole = example("q", "Your name is Ada.")
    assert is_right(whole, "Sure. Your name is Ada!")
    assert not is_right(whole, "Ada")
    assert not is_right(example("q", "👍"), "")
    assert is_right(example("q", "👍"), "👍")


def test_scores_count_answers() -> None:
    found = scores_of([example("q", "a"), example("r", "b")], ["a", "yes, b"], loss=0.0)
    assert (found.asked, found.perplexity, found.exact, found.right) == (2, 1.0, 1, 2)
    assert scores_of([example("q")], [""], loss=1e9).perplexity > 1e300
