"""A model's reasoning is hidden; an answer about reasoning tags is shown."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.model.reasoning import ReasoningFilter


def shown(pieces: list[str]) -> str:
    """The text that people see in the end."""
    thoughts = ReasoningFilter()
    text = ""
    for result in [*map(thoughts.add, pieces), thoughts.end()]:
        text = result.text if result.starts_over else text + result.text
    return text


HARMONY = "<|channel|>analysis<|message|>We need 4.<|end|><|start|>assistant"

THOUGHTS = {
    "<think>hm</think>yes": "yes",
    "<think>\nhm\n</think>\n\nyes": "yes",
    " \n<Thinking>hm</THINKING> yes": "yes",
    "<thought>hm</thought>yes": "yes",
    "<reasoning>hm</reasoning>yes": "yes",
    "<seed:think>hm</seed:think>yes": "yes",
    "[THINK]hm[/THINK]yes": "yes",
    "◁think▷hm◁/think▷yes": "yes",
    "<|START_THINKING|>hm<|END_THINKING|>yes": "yes",
    "<|begin_of_thought|>hm<|end_of_thought|>yes": "yes",
    "<|channel>thought\nhm<channel|>yes": "yes",
    "<think>one</think>\n<think>two</think>yes": "yes",
    "<think>a <think> in it</think>yes": "yes",
    "<think></think>\n\nyes": "yes",
    '<think type="deep">hm</think>yes': "yes",
    "<think >hm</think >yes": "yes",
    "<THINK lang=en>hm</THINK>yes": "yes",
    "<think/>yes": "yes",
    "<thoughts>hm</thoughts>yes": "yes",
    "<think>a <think>b</think> c</think>yes": "yes",
    # The answer has tags, too.
    "<think>hm</think>\n<answer>\nyes</answer>": "yes",
    "<think>hm</think><answer>yes < no</answer>\n": "yes < no",
    "<think>hm</think><answer>yes</answer> and more": "yes</answer> and more",
    "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>yes<|END_RESPONSE|>": "yes",
    "<think>hm</think><answer>yes": "yes",
    "<think>hm</think><ans": "<ans",
    # The tag is never closed.
    "<think>hm": "",
    "<think>hm</thin": "",
    # The tag is closed, but was never opened.
    "hm\n</think>\n\nyes": "yes",
    "hm. So yes.</think>\nyes": "yes",
    "hm</think>yes": "yes",
    "hm</think>**yes**": "**yes**",
    "</think>\n\nyes": "yes",
    "hm\n</think>\n<think>hm</think>yes": "yes",
    "hm\n</think>": "",
    # The reasoning is in a channel.
    HARMONY + "<|channel|>final<|message|>four<|return|>": "four",
    HARMONY + "<|channel|>final <|constrain|>json<|message|>{}<|return|>": "{}",
    HARMONY + "<|channel|>commentary to=functions.x<|message|>{}<|call|>": "",
    HARMONY + "<|message|>four": "four",
    HARMONY: "",
    "<|start|>" + HARMONY + "<|channel|>final<|message|>four<|end|>": "four",
    "<|message|>four<|return|>": "four",
    "We need 4.<|end|><|start|>assistant<|channel|>final<|message|>four": "four",
    "analysisWe need 4.assistantfinalfour": "four",
}

ANSWERS = [
    "Write <think> before and </think> after it.",
    "The tags `<think>` and `</think>` surround it.",
    "```xml\n<think>\nhm\n</think>\n```\ndone",
    "Like this:\n\n```\n</think>\n```\nand so on",
    "You forgot the closing </think> tag.",
    "Close it like this:\n\n    </think>\n\nThen go on.",
    "Close it with **</think>** here.",
    "Close it with <code></think></code> here.",
    "Close it with “</think>” here.",
    "<answer>yes</answer>",
    "<think about it> is no tag",
    "<thinker>x</thinker>",
    "<think about it, and then say what you would do",
    "You forgot to close it with </think>",
    'It ends with "</think>".',
    "`<think>` is a tag.",
    "analysis of the text: it ends in assistantfinal",
    "analysis of the word assistantfinal in it",
    "analysisOf ends in assistantfinal",
    "final answer: 4",
    "<table><tr></tr></table>",
    "<thi",
    "<",
    "[THI",
    " \n leading blanks",
    "  ",
    "a < b | c [d]",
    "<|im_start|> is a marker of ChatML.",
]


@pytest.mark.parametrize(("text", "answer"), THOUGHTS.items())
def test_reasoning_is_hidden_however_it_arrives(text: str, answer: str) -> None:
    """It may arrive in one piece, in two pieces, or character by character."""
    assert shown([text]) == answer
    assert shown(list(text)) == answer
    for at in range(len(text)):
        assert shown([text[:at], text[at:]]) == answer


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_about_tags_is_shown_in_full(text: str) -> None:
    assert shown([text]) == text
    assert shown(list(text)) == text


UNITS = [
    "<think>", "</think>", "[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|end|>",
    "<|start|>", "assistant", "final", "analysis", "commentary", "<|channel>thought", "<channel|>",
    "<think a=b>", "<think ", "<answer>", "</answer>", "<", ">", "|", "/", "\n", " ", "`", "```\n",
    "hm", "yes.", "😀", "İ", "◁think▷", "◁/think▷",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(UNITS), max_size=25).map("".join)


@given(text=TEXTS, data=st.data())
def test_the_boundaries_of_chunks_do_not_matter(text: str, data: st.DataObject) -> None:
    """The shown text depends only on the whole text, and is part of it."""
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8))
    edges = [0, *sorted(cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    whole = shown([text])
    assert shown(pieces) == whole == shown(list(text))
    assert len(whole) <= len(text)


@given(
    text=st.text(alphabet="abc `\n.😀", max_size=200), tag=st.sampled_from(["think", "thinking"])
)
def test_reasoning_before_an_answer_does_not_change_the_answer(text: str, tag: str) -> None:
    assert shown([f"<{tag}>{text}</{tag}>{text}"]).strip() == text.strip()


@given(text=st.text(alphabet="abc <>|[]/`\n.", max_size=200))
def test_text_without_a_tag_is_unchanged(text: str) -> None:
    assert shown([text]) == text


def test_only_text_that_could_begin_a_marker_is_held_back() -> None:
    thoughts = ReasoningFilter()
    assert thoughts.add("<th").text == ""
    assert thoughts.add("e").text == "<the"
    assert thoughts.add(" <th").text == " <th"


def test_reasoning_is_counted() -> None:
    thoughts = ReasoningFilter()
    thoughts.add("<think>12345</think>yes")
    assert thoughts.hidden_chars == 5
    thoughts = ReasoningFilter()
    thoughts.add("12345\n</think>yes")
    assert thoughts.hidden_chars == 6


HOSTILE = [
    "<think>", "</think>", "</think> ", "x</think> ", "<", "<|", "`", " ", "\n", "assistantfinal",
    "<|channel|>", "<|end|>", "<|start|>assistant<|message|>a<|end|>", "<think></think>",
    "<|channel|>final<|message|> ", "```\n</think>\n", "[", "◁", "<think a=b ", "</answer>", "\t",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("head", ["", "a ", "<think>", "<|start|>", "<think/><answer>"])
def test_hiding_reasoning_takes_linear_time(unit: str, head: str) -> None:
    """A text of four times the length must take at most ten times as long."""

    def cpu_s(length: int) -> float:
        text = head + unit * (length // len(unit))
        pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
        best = 1e9
        for _ in range(3):
            started = time.process_time()
            shown_of(pieces)
            best = min(best, time.process_time() - started)
        return best

    def shown_of(pieces: list[str]) -> None:
        thoughts = ReasoningFilter()
        for piece in pieces:
            thoughts.add(piece)
        thoughts.end()

    short_s, long_s = cpu_s(3_000), cpu_s(12_000)
    assert long_s < 10 * short_s + 0.01
