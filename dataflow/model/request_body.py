"""The JSON of one request, in the dialect of its endpoint and without the fields that it refuses.

Pure. It must never name a user: OpenAI gets pseudonyms, and other endpoints get nothing. All fields
are listed in `docs/models.md`.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final

from dataflow.model.dialects import has_breakpoints
from dataflow.model.endpoint import Endpoint
from dataflow.model.quirks import MARK_FIELD, Quirks, without_system
from dataflow.model.refusals import LIMIT_FIELDS
from dataflow.truncation import ChatMessage

PSEUDONYM_CHARS: Final = 32
MARKED_QUESTIONS: Final = 2
"""The newest question, and the one before it, at which the last request ended."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The user and the thread of a question, for the fields that only OpenAI gets."""

    user: str
    thread: str = ""


def request_body(
    messages: tuple[ChatMessage, ...],
    *,
    endpoint: Endpoint,
    model: str,
    answer_tokens: int,
    quirks: Quirks,
    asker: Asker | None,
) -> dict[str, Any]:
    """The request for these messages."""
    if quirks.system_in_user:
        messages = without_system(messages)
    own = endpoint.secret is not None
    if own and has_breakpoints(model) and MARK_FIELD not in quirks.without:
        messages = _marked(messages)
    dialect = endpoint.dialect
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **dialect.sampling,
    }
    for name in (dialect.max_tokens_field, *LIMIT_FIELDS):
        if name not in quirks.without:
            body[name] = min(answer_tokens, quirks.answer_tokens or answer_tokens)
            break
    if endpoint.reasoning_effort is not None:
        body["reasoning_effort"] = endpoint.reasoning_effort
    if endpoint.secret is not None and asker is not None:
        body["prompt_cache_key"] = pseudonym(endpoint.secret, f"{asker.user}\0{asker.thread}")
        body["safety_identifier"] = pseudonym(endpoint.secret, asker.user)
    if not quirks.without:
        return body
    if "stream" in quirks.without:
        del body["stream_options"]  # allowed only together with `stream`
    return {name: value for name, value in body.items() if name not in quirks.without}


def pseudonym(secret: bytes, name: str) -> str:
    """A stable name that only the holder of the secret can connect to the original one."""
    return hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()[:PSEUDONYM_CHARS]


def _marked(messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
    """The messages with cache breakpoints at the end of the last questions."""
    marked = list(messages)
    questions = [at for at, message in enumerate(messages) if message["role"] == "user"]
    for at in questions[-MARKED_QUESTIONS:]:
        content = messages[at]["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else [*content]
        parts[-1] = {**parts[-1], MARK_FIELD: {"mode": "explicit"}}
        marked[at] = {**messages[at], "content": parts}
    return tuple(marked)
