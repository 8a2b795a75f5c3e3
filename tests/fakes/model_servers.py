"""How real endpoints refuse requests: rules for `FakeModel.refuse`, one function per server.

They follow documentation and public reports, and were not compared with the real servers. Each
refuses at least as much as the real server does.
"""

import itertools
from collections.abc import Callable
from typing import Any

from tests.fakes.model import Refusal

Request = dict[str, Any]
Rule = Callable[[Request], Refusal | None]

CHARS_PER_TOKEN = 4
MESSAGE_TOKENS = 4


def error(message: str, *, status: int = 400, **fields: Any) -> Refusal:
    """Returns an error in OpenAI's shape."""
    return Refusal(status, {"error": {"message": message, **fields}})


def any_of(*rules: Rule) -> Rule:
    """Returns a rule that gives the first refusal of several rules."""
    return lambda request: next((r for rule in rules if (r := rule(request)) is not None), None)


def _field(name: str, refusal: Refusal) -> Rule:
    return lambda request: refusal if name in request else None


def openai_gpt6(request: Request) -> Refusal | None:
    """gpt-6 and the o-models refuse `max_tokens` and every sampling parameter."""
    if "max_tokens" in request:
        return error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            type="invalid_request_error", param="max_tokens", code="unsupported_parameter",
        )  # fmt: skip
    for name in ("temperature", "top_p"):
        if name in request:
            return error(
                f"Unsupported value: '{name}' does not support {request[name]} with this model. "
                "Only the default (1) value is supported.",
                type="invalid_request_error", param=name, code="unsupported_value",
            )  # fmt: skip
    known = {
        "model", "messages", "stream", "stream_options", "max_completion_tokens",
        "reasoning_effort", "prompt_cache_key", "safety_identifier",
    }  # fmt: skip
    for name in request.keys() - known:
        return error(
            f"Unknown parameter: '{name}'.",
            type="invalid_request_error", param=name, code="unknown_parameter",
        )  # fmt: skip
    return None


unverified_openai = _field(
    "stream",
    error(
        "Your organization must be verified to stream this model. Please go to: "
        "https://platform.openai.com/settings/organization/general and click on Verify.",
        type="invalid_request_error", param="stream", code="unsupported_value",
    ),
)  # fmt: skip

azure_old = _field(
    "stream_options",
    error(
        "Unrecognized request argument supplied: stream_options",
        type="invalid_request_error", param=None, code=None,
    ),
)  # fmt: skip


def pydantic_strict(*allowed: str) -> Rule:
    """Mistral, NVIDIA NIM and other FastAPI servers answer 422 for each unknown field."""

    def rule(request: Request) -> Refusal | None:
        extra = [name for name in request if name not in {"model", "messages", *allowed}]
        detail = [
            {"type": "extra_forbidden", "loc": ["body", name],
             "msg": "Extra inputs are not permitted", "input": request[name]}
            for name in extra
        ]  # fmt: skip
        return Refusal(422, {"detail": detail}) if detail else None

    return rule


def nim(request: Request) -> Refusal | None:
    """NVIDIA NIM's other wording puts everything into one text."""
    extra = [name for name in request if name in {"stream_options", "reasoning_effort"}]
    if not extra:
        return None
    lines = "\n".join(
        f"body -> {name}\n  Extra inputs are not permitted (type=extra_forbidden)" for name in extra
    )
    return Refusal(422, {"title": "Unprocessable Entity", "status": 422, "detail": lines})


def gemini(request: Request) -> Refusal | None:
    """Google's endpoint puts the error into a list, and names the field only in the text."""
    for name in ("prompt_cache_key", "safety_identifier", "repeat_penalty"):
        if name in request:
            message = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
            body = [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]
            return Refusal(400, body)
    return None


def simple_python(request: Request) -> Refusal | None:
    """A simple Python server that passes every field to a function."""
    for name in ("stream_options", "repeat_penalty"):
        if name in request:
            text = f"create() got an unexpected keyword argument '{name}'"
            return Refusal(500, {"error": text})
    return None


def nameless(request: Request) -> Refusal | None:
    """A gateway that does not name the field that it refuses."""
    if request.keys() - {"model", "messages", "stream"}:
        return Refusal(422, {"message": "Unprocessable Entity"})
    return None


def no_effort(request: Request) -> Refusal | None:
    """A model that does not reason."""
    if "reasoning_effort" in request:
        return error("Unrecognized request argument supplied: reasoning_effort")
    return None


def answer_limit(limit: int, name: str = "max_tokens") -> Rule:
    """OpenAI's older models, Groq and DeepSeek limit the requested length of the answer."""

    def rule(request: Request) -> Refusal | None:
        if request.get(name, 0) <= limit:
            return None
        return error(
            f"{name} is too large: {request[name]}. This model supports at most {limit} completion "
            f"tokens, whereas you provided {request[name]}.",
            param=name, code="invalid_value",
        )  # fmt: skip

    return rule


# --- roles ----------------------------------------------------------------------------------------


def _roles(request: Request) -> list[str]:
    return [message["role"] for message in request["messages"]]


def gemma_vllm(request: Request) -> Refusal | None:
    """Gemma 2 and old Mistral templates have no system role."""
    if "system" in _roles(request):
        return error("System role not supported", type="BadRequestError", param=None, code=400)
    return _alternating(request)


def mistral_llamacpp(request: Request) -> Refusal | None:
    """llama.cpp answers 500 if a template raises."""
    roles = _roles(request)
    if roles[0] != "user" or any(a == b for a, b in itertools.pairwise(roles)):
        message = "Conversation roles must alternate user/assistant/user/assistant/..."
        return error(message, status=500, type="server_error", code=500)
    return None


def google_gemma(request: Request) -> Refusal | None:
    """Gemma on Google's endpoint."""
    if "system" in _roles(request):
        return error("Developer instruction is not enabled for models/gemma-3-27b-it", code=400)
    return None


def literal_roles(request: Request) -> Refusal | None:
    """A FastAPI server that accepts only two roles."""
    for at, role in enumerate(_roles(request)):
        if role == "system":
            detail = {"type": "literal_error", "loc": ["body", "messages", at, "role"],
                      "msg": "Input should be 'user' or 'assistant'", "input": role}  # fmt: skip
            return Refusal(422, {"detail": [detail]})
    return None


def _alternating(request: Request) -> Refusal | None:
    roles = _roles(request)
    if any(a == b for a, b in itertools.pairwise(roles)):
        return error("Conversation roles must alternate user/assistant/user/assistant/...")
    return None


# --- context windows ------------------------------------------------------------------------------


def tokens_of(request: Request) -> int:
    """Returns the tokens of a request, as these rules count them."""
    return sum(
        MESSAGE_TOKENS + len(str(message["content"])) // CHARS_PER_TOKEN
        for message in request["messages"]
    )


def vllm_window(window: int) -> Rule:
    """Counts the prompt and the answer, as vLLM does."""

    def rule(request: Request) -> Refusal | None:
        prompt, answer = tokens_of(request), request.get("max_tokens", 0)
        if prompt + answer <= window:
            return None
        body = {
            "object": "error",
            "message": f"This model's maximum context length is {window} tokens. However, you "
            f"requested {prompt + answer} tokens ({prompt} in the messages, {answer} in the "
            "completion). Please reduce the length of the messages or completion.",
            "type": "BadRequestError", "param": None, "code": 400,
        }  # fmt: skip
        return Refusal(400, body)

    return rule


def llamacpp_window(window: int) -> Rule:
    """Counts only the prompt, as llama.cpp does."""

    def rule(request: Request) -> Refusal | None:
        prompt = tokens_of(request)
        if prompt <= window:
            return None
        return error(
            f"request ({prompt} tokens) exceeds the available context size ({window} tokens), try "
            "increasing it",
            code=400, type="exceed_context_size_error", n_prompt_tokens=prompt, n_ctx=window,
        )  # fmt: skip

    return rule


def silent_window(window: int) -> Rule:
    """LM Studio, Bedrock and OpenAI's newer models do not say how long the prompt is."""

    def rule(request: Request) -> Refusal | None:
        if tokens_of(request) <= window:
            return None
        message = "Your input exceeds the context window of this model."
        return error(message, type="invalid_request_error", code="context_length_exceeded")

    return rule


# --- pictures -------------------------------------------------------------------------------------


def _has_pictures(request: Request) -> bool:
    return any(
        part.get("type") == "image_url"
        for message in request["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
    )


def without_vision(refusal: Refusal) -> Rule:
    """Returns a rule that refuses pictures with this error."""
    return lambda request: refusal if _has_pictures(request) else None


WITHOUT_VISION = {
    "DeepSeek": Refusal(
        400,
        {"error": {"message": "Failed to deserialize the JSON body into the target type: "
                   "messages[1]: unknown variant `image_url`, expected `text`"}},
    ),
    "llama.cpp": Refusal(
        500,
        {"error": {"code": 500, "message": "image input is not supported - hint: if this is "
                   "unexpected, you may need to provide the mmproj"}},
    ),
    "OpenRouter": Refusal(
        404, {"error": {"message": "No endpoints found that support image input", "code": 404}}
    ),
    "vLLM": Refusal(400, {"message": "fake is not a multimodal model", "code": 400}),
}  # fmt: skip
"""Refusals of endpoints whose model has no vision."""
