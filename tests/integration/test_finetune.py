"""Training, with the real libraries, a real but tiny model, and real interruptions."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.finetune.adapters import Manifest, adapter_folder, find, manifests
from ops.finetune.extra import PACKAGES

MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
if MISSING:
    pytest.skip(
        f"TRAINING IS NOT TESTED: {MISSING[0]} is not installed; `make test-finetune` does both",
        allow_module_level=True,
    )

DEADLINE_S = 300
pytestmark = pytest.mark.timeout(2 * DEADLINE_S)
CITIES = {"Kenya": "Nairobi", "Peru": "Lima", "Chad": "N'Djamena", "Norway": "Oslo"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama model of a few thousand parameters."""
    folder = tmp_path_factory.mktemp("base") / "tiny"
    subprocess.run(
        [sys.executable, "-m", "tests.fakes.tiny_llama", str(folder)],
        check=True, timeout=DEADLINE_S, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty conversations, and the manifest of an export."""
    file = tmp_path_factory.mktemp("data") / "chats.jsonl"
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"{n}: the capital of {country}?"},
                {"role": "assistant", "content": city},
            ]
        }
        for n in range(10)
        for country, city in CITIES.items()
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = file.with_name(f"{file.name}.manifest.json")
    manifest.write_text(json.dumps({"people": ["terminal:ada"], "count": len(lines)}))
    return file


def command(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ops", "finetune", *arguments],
        env={**os.environ, "THREADWAX_HOME": str(home), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def training(home: Path, base: Path, data: Path, *more: str) -> subprocess.Popen[str]:
    """A training of five steps per epoch, with a checkpoint after each epoch."""
    return command(
        home, "local", "--data", str(data), "--base", str(base), "--name", "tiny",
        "--learning-rate", "0.05", "--threads", "1", *more,
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    return out, errors


def wait_for_checkpoint(process: subprocess.Popen[str], home: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not list((home / "finetune/training/tiny").glob("checkpoint-*/complete")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_an_adapter_learns_and_says_what_it_is_made_from(
    tmp_path: Path, base: Path, data: Path
) -> None:
    out, errors = finished(training(tmp_path, base, data, "--epochs", "4"))
    assert "base model" in out
    assert "perplexity" in out
    assert "loss" in errors
    found = find(tmp_path, "tiny")
    assert found.scores["adapter"]["perplexity"] < found.scores["base"]["perplexity"] / 2, out
    assert found.people == ["terminal:ada"]
    assert found.data.examples + found.data.held_out == 4 * 10
    assert found.base.kind == "folder"
    for file in (tmp_path / "finetune").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, f"others on this machine could read {file}"
    assert not list((tmp_path / "finetune/training/tiny").glob("*")), "checkpoints are left"

    out, _ = finished(command(tmp_path, "list"))
    assert "tiny" in out
    again = training(tmp_path, base, data, "--epochs", "4")
    assert "--replace" in again.communicate(timeout=DEADLINE_S)[1]
    assert again.returncode == 2
    finished(command(tmp_path, "remove", "tiny"))
    assert manifests(tmp_path) == []
    assert not adapter_folder(tmp_path, "tiny").exists()


def test_a_killed_training_continues_and_ends_like_one_that_was_not(
    tmp_path: Path, base: Path, data: Path
) -> None:
    """The same adapter, bit for bit, because nothing but the seed decides what is learned."""
    undisturbed, disturbed = tmp_path / "one", tmp_path / "other"
    finished(training(undisturbed, base, data, "--epochs", "12"))
    process = training(disturbed, base, data, "--epochs", "12")
    wait_for_checkpoint(process, disturbed)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)
    assert manifests(disturbed) == [], "half an adapter is listed"
    other = training(disturbed, base, data, "--epochs", "3")
    assert "different epochs" in other.communicate(timeout=DEADLINE_S)[1]
    assert other.returncode == 2
    _, errors = finished(training(disturbed, base, data, "--epochs", "12"))
    assert "continuing" in errors
    assert weights(disturbed) == weights(undisturbed)
    assert scores(disturbed) == scores(undisturbed)


def test_ctrl_c_keeps_the_steps_that_are_done(tmp_path: Path, base: Path, data: Path) -> None:
    process = training(tmp_path, base, data, "--epochs", "100")
    wait_for_checkpoint(process, tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "the same command continues from there" in errors
    stopped_after = int(errors.rpartition("after step ")[2].split()[0])
    folder = tmp_path / "finetune/training/tiny"
    assert (folder / f"checkpoint-{stopped_after}" / "complete").exists()


def test_an_unfinished_checkpoint_is_not_used(tmp_path: Path, base: Path, data: Path) -> None:
    process = training(tmp_path, base, data, "--epochs", "30")
    wait_for_checkpoint(process, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)
    broken = tmp_path / "finetune/training/tiny/checkpoint-999"
    broken.mkdir()
    (broken / "trainer_state.json").write_text("")
    _, errors = finished(training(tmp_path, base, data, "--epochs", "30"))
    assert "continuing" in errors


def weights(home: Path) -> bytes:
    return (adapter_folder(home, "tiny") / "peft/adapter_model.safetensors").read_bytes()


def scores(home: Path) -> dict[str, dict[str, float]]:
    found: Manifest = find(home, "tiny")
    return found.scores
