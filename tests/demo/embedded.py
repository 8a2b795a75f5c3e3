"""The embedded server as a part of this process, asked as the dataflow asks it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import openai
import xllamacpp

from dataflow.model.dialects import DEMO, DEMO_SYSTEM_PROMPT
from ops.demo_weights import weights_path
from ops.embedded_model import MODEL_NAME, parameters_of

KEY: Final = "demo"
ANSWER_TOKENS: Final = 80


class Embedded:
    """The demo model, with or without an adapter."""

    def __init__(self, base_url: str) -> None:
        self._client = openai.OpenAI(base_url=base_url, api_key=KEY)

    def answer(self, questions: Sequence[str]) -> str:
        """Asks questions one after another, as in a conversation; returns the last answer."""
        messages: list[dict[str, str]] = [{"role": "system", "content": DEMO_SYSTEM_PROMPT}]
        said = ""
        for question in questions:
            messages.append({"role": "user", "content": question})
            response = self._client.chat.completions.create(
                model=MODEL_NAME, messages=messages, max_tokens=ANSWER_TOKENS,  # type: ignore[arg-type]
                temperature=DEMO.sampling["temperature"],
                extra_body={"repeat_penalty": DEMO.sampling["repeat_penalty"]},
            )  # fmt: skip
            said = response.choices[0].message.content or ""
            messages.append({"role": "assistant", "content": said})
        return said


@contextmanager
def served(adapter: Path | None) -> Iterator[Embedded]:
    """Serves the model while the block runs."""
    loaded = [] if adapter is None else [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    server = xllamacpp.Server(parameters_of(weights_path(), loaded, KEY))
    yield Embedded(f"{server.listening_address}/v1")
    del server
