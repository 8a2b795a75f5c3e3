"""Complaints about the length of a request, as endpoints word them."""

import pytest

from dataflow.model.complaint import complaint_of
from dataflow.model.overflow import is_overflow, window_in

MESSAGES = {
    "OpenAI": (
        ("This model's maximum context length is 8192 tokens. However, your messages resulted in "
        "9000 tokens. Please reduce the length of the messages."), 8192),
    "OpenAI, new": (
        ("Your input exceeds the context window of this model. Please adjust your input and try "
        "again."), None),
    "OpenAI, configured": (
        ("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in "
        "300000 tokens."), 272000),
    "OpenAI, per minute": (
        ("Request too large for gpt-x in organization org-1 on tokens per min (TPM): Limit 30000, "
        "Requested 35000. The input or output tokens must be reduced."), 30000),
    "vLLM": (
        ("This model's maximum context length is 500 tokens. However, you requested 700 tokens "
        "(300 in the messages, 400 in the completion)."), 500),
    "vLLM, input": (
        ("You passed 4097 input tokens and requested 100 output tokens. However, the model's "
        "context length is only 4096 tokens, resulting in a maximum input length of 3996 tokens."),
        4096),
    "vLLM, answer": (
        ("'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context "
        "length is 4096 tokens and your request has 20 input tokens (8192 > 4096 - 20)."), 4096),
    "vLLM, decoder": (
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192.", 8192),
    "llama.cpp": (
        ("request (3000 tokens) exceeds the available context size (2048 tokens), try increasing "
        "it"), 2048),
    "llama.cpp, old": (
        ("the request exceeds the available context size. try increasing the context size or "
        "enable context shift"), None),
    "Ollama": ("input length exceeds the context length", None),
    "Ollama, by how much": ("prompt too long; exceeded max context length by 27 tokens", None),
    "LM Studio": (
        ("Trying to keep the first 15857 tokens when context the overflows. However, the model is "
        "loaded with context length of only 4096 tokens, which is not enough."), 4096),
    "LM Studio, n_keep": (
        ("The number of tokens to keep from the initial prompt is greater than the context length "
        "(n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger context length."),
        4096),
    "LM Studio, truncate": (
        "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)", 7424),
    "DeepSeek": (
        ("This model's maximum context length is 65536 tokens. However, you requested 70000 tokens "
        "(66000 in the messages, 4000 in the completion)."), 65536),
    "OpenRouter": (
        ("This endpoint's maximum context length is 32768 tokens. However, you requested about "
        "40000 tokens (32000 of text input, 8000 in the output)."), 32768),
    "Anthropic": ("prompt is too long: 208310 tokens > 200000 maximum", 200000),
    "Anthropic, with answer": (
        ("input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000, decrease "
        "input length or `max_tokens` and try again"), 200000),
    "Gemini": (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        1048576),
    "Mistral": (
        ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
        "context length"), 32768),
    "TGI": (
        ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 "
        "`inputs` tokens and 512 `max_new_tokens`"), 4096),
    "SGLang": (
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096),
    "SGLang, requested": (
        ("Requested token count exceeds the model's maximum context length of 4096 tokens. You "
        "requested a total of 5000 tokens."), 4096),
    "xAI": (
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        131072),
    "Cohere": (
        "too many tokens: total number of tokens (prompt and prediction) cannot exceed 4081", 4081),
    "Moonshot": ("Invalid request: Your request exceeded model token limit: 8192", 8192),
    "Bedrock": ("Input is too long for requested model.", None),
    "DashScope": ("Range of input length should be [1, 30720]", 30720),
    "Fireworks": (
        "The prompt is too long: 9000, model maximum context length: 8,191", 8191),
    "Groq": ("Please reduce the length of the messages or completion.", None),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_an_overflow_is_recognized_by_its_text_alone(name: str) -> None:
    message, window = MESSAGES[name]
    status = 429 if name == "OpenAI, per minute" else 400
    complaint = complaint_of(status, {"message": message, "type": "BadRequestError", "code": 400})
    assert is_overflow(complaint)
    assert window_in(complaint) == window


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Invalid value for 'temperature': must be at most 2."),
        (400, "no"),
        (400, "Your image is too large. The maximum is 20 MB."),
        (429, "Rate limit reached: Limit 30000 tokens per min. Please try again in 2s."),
        (401, "Your key is too long."),
        (500, "the context window closed"),
    ],
)
def test_other_complaints_are_not_about_length(status: int, message: str) -> None:
    assert not is_overflow(complaint_of(status, {"message": message}))


@pytest.mark.parametrize(
    ("body", "window"),
    [
        ({"type": "exceed_context_size_error", "n_ctx": 2048, "n_prompt_tokens": 3000}, 2048),
        ({"code": "context_length_exceeded", "message": ""}, None),
        ({"type": "exceed_context_size_error", "n_ctx": 0}, None),
        ("Prompt is too long: maximum context length is 12 tokens", None),
    ],
)
def test_the_window_size_is_found_in_every_known_place(body: object, window: int | None) -> None:
    """A number that no model could have is ignored."""
    complaint = complaint_of(400, body)
    assert is_overflow(complaint)
    assert window_in(complaint) == window
