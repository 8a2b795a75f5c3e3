"""`threadwax finetune openai`: the real client, and a fake that refuses what OpenAI refuses."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from tests.fakes.openai_finetuning import KEY, FakeFineTuning, training_file_fault

DEADLINE_S = 60
NOTICE = "no new jobs after 2027-01-06"


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int | None
    out: str
    errors: str


@dataclass
class Service:
    """The fake, and the command that talks to it."""

    fake: FakeFineTuning
    url: str
    home: Path

    async def run(self, *arguments: str, answer: str = "", **environment: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops", "finetune", "openai", "--every-s", "0.1", *arguments,
            env={**os.environ, "THREADWAX_HOME": str(self.home), "OPENAI_BASE_URL": self.url,
                 "OPENAI_API_KEY": KEY, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, errors = await asyncio.wait_for(process.communicate(answer.encode()), DEADLINE_S)
        return Ended(process.returncode, out.decode(), errors.decode())


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    fake = FakeFineTuning()
    server = TestServer(fake.app())
    await server.start_server()
    try:
        yield Service(fake, f"http://127.0.0.1:{server.port}/v1", tmp_path / "home")
    finally:
        await server.close()


def chats(folder: Path, count: int, *, more: str = "") -> str:
    file = folder / "chats.jsonl"
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"question {n}"},
                {"role": "assistant", "content": "first", "weight": 0},
                {"role": "user", "content": "again"},
                {"role": "assistant", "content": f"answer {n}"},
            ],
            "expect": str(n),
        }
        for n in range(count)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + more)
    return str(file)


async def test_a_job_is_started_and_followed_to_its_model(service: Service, tmp_path: Path) -> None:
    ended = await service.run(
        "--data", chats(tmp_path, 12), "--model", "gpt-small", "--suffix", "mine", "--epochs", "2",
        answer="y\n",
    )  # fmt: skip
    assert ended.code == 0, ended.errors
    assert NOTICE in ended.errors
    assert "ftjob-1: step 1" in ended.errors
    assert ended.errors.count("ftjob-1: step 1\n") == 1
    assert ended.out == "use it with THREADWAX_MODEL=ft:gpt-small:org::1\n"
    [order] = service.fake.orders
    assert order["suffix"] == "mine"
    assert order["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2}
    assert service.fake.deleted == ["file-1"], "the conversations are still stored there"


async def test_nothing_is_uploaded_before_a_person_agrees(service: Service, tmp_path: Path) -> None:
    for answer in ("n\n", "\n", ""):
        ended = await service.run(
            "--data", chats(tmp_path, 12), "--model", "gpt-small", answer=answer
        )
        assert ended.code == 1
        assert NOTICE in ended.errors
        assert not service.fake.files
        assert not service.fake.deleted


async def test_bad_data_never_leave_this_machine(service: Service, tmp_path: Path) -> None:
    few = await service.run("--data", chats(tmp_path, 9), "--model", "gpt-small", "--yes")
    assert few.code == 2
    assert "at least 10" in few.errors
    bad = await service.run(
        "--data", chats(tmp_path, 12, more="{\n"), "--model", "gpt-small", "--yes"
    )
    assert bad.code == 2
    assert "line 13: it is not JSON" in bad.errors
    assert not service.fake.files
    assert not service.fake.deleted


async def test_an_organization_without_access_is_sent_to_local_training(
    service: Service, tmp_path: Path
) -> None:
    service.fake.has_access = False
    ended = await service.run("--data", chats(tmp_path, 12), "--model", "gpt-small", "--yes")
    assert ended.code == 1
    assert "not available to this organization" in ended.errors
    assert "threadwax finetune local" in ended.errors
    assert "Traceback" not in ended.errors
    assert service.fake.deleted == ["file-1"]


@pytest.mark.parametrize(
    ("arguments", "environment", "reason"),
    [
        (("--model", "gpt-huge"), {}, "not available for fine-tuning"),
        (("--model", "gpt-small"), {"OPENAI_API_KEY": "sk-other"}, "set another OPENAI_API_KEY"),
        (
            ("--model", "gpt-small"),
            {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"},
            "cannot be reached",
        ),
    ],
)
async def test_a_refusal_is_explained(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    reason: str,
    service: Service,
    tmp_path: Path,
) -> None:
    ended = await service.run("--data", chats(tmp_path, 12), "--yes", *arguments, **environment)
    assert ended.code == 1
    assert reason in ended.errors
    assert "Traceback" not in ended.errors
    assert not service.fake.files


async def test_a_job_that_fails_says_why(service: Service) -> None:
    """As if the file were found to be bad only there."""
    service.fake.files["file-0"] = b'{"messages": []}\n'
    service.fake.jobs["ftjob-0"] = {
        "id": "ftjob-0", "object": "fine_tuning.job", "created_at": 0, "model": "gpt-small",
        "organization_id": "org-1", "status": "queued", "hyperparameters": {}, "result_files": [],
        "training_file": "file-0", "seed": 0, "error": None, "fine_tuned_model": None, "looks": 0,
    }  # fmt: skip
    ended = await service.run("--job", "ftjob-0")
    assert ended.code == 1
    assert "the job ftjob-0 failed: Expected at least 10 examples, got 1" in ended.errors
    unknown = await service.run("--job", "ftjob-9")
    assert unknown.code == 1
    assert "Could not find fine tune" in unknown.errors


async def test_it_needs_a_key_and_data(service: Service) -> None:
    without_key = await service.run(OPENAI_API_KEY="")
    assert without_key.code == 2
    assert "OPENAI_API_KEY" in without_key.errors
    without_data = await service.run()
    assert without_data.code == 2
    assert "--data" in without_data.errors


def test_the_fake_refuses_what_openai_refuses() -> None:
    good = b'{"messages": [{"role": "user", "content": "a"}]}\n'
    assert training_file_fault(good * 10) is None
    few = training_file_fault(good * 9)
    assert few is not None
    assert few["code"] == "invalid_n_examples"
    for bad in (b"{\n", b'{"messages": [], "expect": "a"}\n', b'{"messages": [{"name": "a"}]}\n'):
        fault = training_file_fault(good * 10 + bad)
        assert fault is not None
        assert "Line 11" in fault["message"]
