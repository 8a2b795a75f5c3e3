"""The texts with which endpoints refuse requests, from public reports and documentation.

The tests fill in `{sent}`, `{limit}` and `{tokens}`.
"""

from typing import Any

from tests.fakes.model import Refusal
from tests.fakes.model_servers import error


def _said(message: str, status: int = 400) -> Refusal:
    return error(message, status=status)


FIELDS: dict[str, tuple[str, Refusal]] = {
    "405": ("stream", _said("Streaming is not supported for this model.", 405)),
    "403": ("stream_options", _said("Parameter stream_options is not allowed for this key.", 403)),
    "404": ("stream_options", Refusal(404, {"detail": "stream_options not supported"})),
    "415": ("stream_options", _said("stream_options not supported", 415)),
    "501": ("stream_options", _said("stream_options not implemented", 501)),
    "a Python server's 500": ("stream_options", _said("KeyError: 'stream_options'", 500)),
    "camel case": ("stream_options", _said('Unknown name "streamOptions": Cannot find field.')),
    "serde, not JSON": (
        "stream_options",
        Refusal(422, "Failed to deserialize the JSON body into the target type: unknown field "
                "`stream_options`, expected one of `model`, `messages` at line 1 column 80"),
    ),
    "Azure's stream": (
        "stream",
        _said("Unsupported value: 'stream' does not support true with this model. Only the default "
              "(false) value is supported."),
    ),
    "a stream that must be false": ("stream", _said("'stream' must be false")),
    "LiteLLM": (
        "reasoning_effort",
        _said("litellm.UnsupportedParamsError: groq does not support parameters: "
              "['reasoning_effort'], for model=x. To drop these, set `litellm.drop_params=True`"),
    ),
    "Groq's value": (
        "reasoning_effort", _said("`reasoning_effort` must be one of `none` or `default`"),
    ),
    "Ollama": ("reasoning_effort", _said('"llama3.2" does not support thinking')),
    "Anthropic": ("repeat_penalty", _said("repeat_penalty: Extra inputs are not permitted")),
}  # fmt: skip
"""Complaints about one field, which name it in different ways."""

NAMELESS: dict[str, tuple[str, Refusal]] = {
    "no reason": ("stream_options", _said("Bad Request")),
    "nothing at all": ("stream_options", Refusal(400, "")),
    "no reason, about the stream": ("stream", _said("invalid argument")),
    "no field, about the stream": ("stream", Refusal(422, {"message": "Unprocessable Entity"})),
}

ROLES: dict[str, Refusal] = {
    "o1-mini": error(
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        param="messages[0].role", code="unsupported_value", type="invalid_request_error",
    ),
    "pydantic 1": Refusal(422, {"detail": [
        {"loc": ["body", "messages", 0, "role"], "type": "value_error.const",
         "msg": "unexpected value; permitted: 'user', 'assistant'"}]}),
    "vLLM": error(
        "[{'type': 'literal_error', 'loc': ('body', 'messages', 0, 'role'), 'msg': \"Input should "
        "be 'user' or 'assistant'\", 'input': 'system'}]", type="BadRequestError", code=400),
    "serde": Refusal(
        422, "Failed to deserialize the JSON body into the target type: messages[0].role: unknown "
        "variant `system`, expected `user` or `assistant` at line 1 column 40"),
    "Gemini": _said("Please use a valid role: user, model."),
    "Gemini's content": _said("Content with system role is not supported."),
    "Mistral": _said("Only user, assistant and tool roles are supported, got system."),
    "Bedrock": _said("A conversation must start with a user message."),
    "Anthropic": _said('messages: first message must use the "user" role'),
    "Cohere": _said("invalid request: all messages must have a valid role"),
    "a template's 500": _said("Conversation must start with a user prompt", 500),
    "LM Studio": _said('Error rendering prompt with jinja template: "Only user and assistant roles '
                       'are supported!"'),
    "a JSON schema": _said("'system' is not one of ['user', 'assistant'] - 'messages.0.role'"),
    "system messages": _said("This model does not support system messages"),
    "no reason": _said("Bad Request"),
}  # fmt: skip
"""Complaints about a system message."""

LIMITS: dict[str, str] = {
    "Gemini": "Unable to submit request because it has a maxOutputTokens value of {sent} but the "
    "supported range is from 1 (inclusive) to {limit} (exclusive).",
    "Cohere": "too many tokens: max tokens must be less than or equal to {limit}, the maximum "
    "output length for this model - received {sent}.",
    "Bedrock": "The maximum tokens you requested exceeds the model limit of {limit}. Try again "
    "with a maximum tokens value that is lower than {limit}.",
    "Anthropic": "max_tokens: {sent} > {limit}, which is the maximum allowed number of output "
    "tokens for claude-3-5-sonnet-20241022",
    "DeepSeek": "Invalid max_tokens value, the valid range of max_tokens is [1, {limit}]",
    "Groq": "`max_tokens` must be less than or equal to `{limit}`, the maximum value for "
    "`max_tokens` is less than the `context_window` for this model",
    "SiliconFlow": "max_tokens ({sent}) exceeds the maximum output length of the model ({limit})",
    "others": "Max output tokens must be less than or equal to {limit}",
}
"""Complaints about the length of the answer. Some look like complaints about the prompt."""

WINDOWS: dict[str, tuple[int, str]] = {
    "in thousands": (400, "This model's maximum context length is 4K tokens."),
    "llama-cpp-python": (500, "Requested tokens ({tokens}) exceed context window of 4096"),
    "Ollama": (500, "input length exceeds maximum context length"),
    "vLLM, with pictures": (
        400, ("The decoder prompt (length {tokens}) is longer than the maximum model length of "
        "4096. Make sure that `max_model_len` is no smaller than the number of text tokens plus "
        "multimodal tokens. For image inputs, the number of image tokens depends on the number of "
        "images, and possibly their aspect ratios as well.")),
    "KoboldCpp": (503, "Context size exceeded: {tokens} > 4096"),
    "TGI": (422, "Input validation error: `inputs` must have less than 4096 tokens."),
    "Perplexity": (400, "Number of tokens in prompt {tokens} exceeds limit 4096"),
    "TabbyAPI": (400, "Prompt length {tokens} is greater than max_seq_len 4096"),
    "LMDeploy": (400, "The input length {tokens} exceeds session_len 4096"),
    "Copilot": (400, "prompt token count of {tokens} exceeds the limit of 4096"),
    "OpenVINO": (400, "Number of prompt tokens: {tokens} exceeds model max length: 4096"),
    "a proxy": (413, "<html><h1>413 Request Entity Too Large</h1></html>"),
    "another language": (400, "输入内容过长"),
    "a count of messages": (400, "The context window of 100 messages is exceeded."),
    "a limit of a rate": (400, "The input exceeds the context window. Rate limit: 100"),
}  # fmt: skip
"""Complaints about a prompt of more than 4,096 tokens. The last ones name no window."""

MEANINGS: dict[str, tuple[int, Any, str]] = {
    "Gemini's key": (
        400,
        [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT"}}],
        "bad key",
    ),
    "xAI's key": (400, {"code": "invalid argument", "error": "Incorrect API key provided: xa***"},
                  "bad key"),
    "DeepSeek's model": (400, {"error": {"message": "Model Not Exist"}}, "no model"),
    "Mistral's model": (400, {"message": "Invalid model: x", "type": "invalid_model"}, "no model"),
    "OpenRouter's model": (400, {"error": {"message": "a/b is not a valid model ID"}}, "no model"),
    "Groq's old model": (400, {"error": {"message": "The model `x` has been decommissioned.",
                                         "code": "model_decommissioned"}}, "no model"),
    "a model that is gone": (410, {}, "no model"),
    "OpenRouter's moderation": (
        403, {"error": {"message": 'Your input was flagged for "harassment".', "code": 403}},
        "refused",
    ),
    "Azure's filter": (
        400, {"error": {"message": "The response was filtered due to the prompt triggering Azure "
                        "OpenAI's content management policy.", "code": "content_filter"}},
        "refused",
    ),
    "xAI's budget": (
        429, {"error": "Your team has either used all available credits or reached its monthly "
              "spending limit."}, "quota",
    ),
    "Zhipu's budget": (429, {"error": {"code": "1113", "message": "余额不足"}}, "quota"),
    "Fireworks' budget": (
        412, {"error": {"message": "Account is suspended, possibly due to reaching the monthly "
                        "spending limit"}}, "quota",
    ),
}  # fmt: skip
"""Complaints whose status contradicts their text, and their meaning."""
