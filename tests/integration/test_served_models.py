# ruff: noqa: PLC0415  (imports of the extra, which may be missing)
"""Models of one's own are served: an adapter on the embedded server, a folder by transformers."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from openai import OpenAI

from dataflow.model.endpoint import endpoint_of
from dataflow.model.endpoint_name import model_in_words
from ops.demo_weights import weights_path
from ops.finetune import adapters
from ops.finetune.adapters import Base, Data, Hyperparameters, Manifest
from ops.finetune.base import sha256_of
from ops.finetune.extra import PACKAGES, SERVING
from ops.finetune.served import adapter_fault, adapter_file, system_prompt_note
from shared import lifecycle
from shared.private_file import private_file
from shared.settings import Settings

DEADLINE_S = 180
NEEDED = tuple(dict.fromkeys((*PACKAGES, *SERVING)))
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
needs_extra = pytest.mark.skipif(
    bool(MISSING),
    reason=f"SERVING TRAINED MODELS IS NOT TESTED: {', '.join(MISSING)} not installed; "
    "`make test-finetune` does both",
)
pytestmark = pytest.mark.timeout(2 * DEADLINE_S)


def environment(home: Path, **more: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS"))}
    return {**inherited, "THREADWAX_HOME": str(home), **more}


def store(home: Path, name: str, *, base: str | None = None, kind: str = "embedded") -> Path:
    """Writes the manifest of an adapter; returns its folder."""
    folder = adapters.adapter_folder(home, name)
    file = folder / adapters.ADAPTER_FILE
    manifest = Manifest.model_validate(
        {
            "name": name,
            "created_at": "2026-11-26T00:00:00+00:00",
            "base": Base.model_validate(
                {"kind": kind, "name": "some", "sha256": base or sha256_of(weights_path())}
            ),
            "data": Data(name="data", sha256="0", examples=1, held_out=1),
            "hyperparameters": Hyperparameters(
                epochs=1, batch_size=1, learning_rate=1, rank=1, alpha=1, max_tokens=1, seed=0,
                system="You are a pirate.",
            ),
            "scores": {"base": {}, "adapter": {}},
            "adapter_sha256": sha256_of(file) if file.exists() else None,
            "libraries": {},
        }
    )  # fmt: skip
    adapters.write_manifest(folder, manifest)
    return folder


def refused(home: Path, *command: str, name: str) -> str:
    """The reason that a command gives for not starting."""
    ended = subprocess.run(
        [sys.executable, "-m", "ops", *command],
        env=environment(home, THREADWAX_MODEL=f"local:{name}"),
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert ended.returncode == lifecycle.CANNOT_START, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("command", [("model",), ("up", "--no-chat")])
def test_an_unknown_adapter_is_refused_with_the_known_ones(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    assert "train one with `threadwax finetune local`" in refused(tmp_path, *command, name="mine")
    store(tmp_path, "one")
    store(tmp_path, "two")
    assert "there is no adapter 'mine'; known: one, two" in refused(tmp_path, *command, name="mine")


@pytest.mark.parametrize("name", ["../adapters/one", "", "One", "./one"])
def test_a_name_never_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    store(tmp_path, "one")
    assert "known: one" in refused(tmp_path, "model", name=name)


def test_an_adapter_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    store(tmp_path, "other", base="0")
    assert "trained on other weights" in refused(tmp_path, "model", name="other")
    store(tmp_path, "folder", kind="folder")
    assert "threadwax model --hf" in refused(tmp_path, "model", name="folder")
    store(tmp_path, "lost")
    assert "missing or damaged" in refused(tmp_path, "model", name="lost")


def test_a_key_does_not_send_questions_elsewhere() -> None:
    """Whoever chooses an adapter wants it, even if a key is set for something else."""
    chosen = Settings.model_validate({"THREADWAX_MODEL": "local:one", "OPENAI_API_KEY": "sk"})
    assert chosen.demo_model
    assert chosen.adapter == "one"
    other = Settings.model_validate({"THREADWAX_MODEL": "gpt", "OPENAI_API_KEY": "sk"})
    assert not other.demo_model
    assert other.adapter is None


def test_an_adapter_is_named_in_the_journal_and_at_the_start(tmp_path: Path) -> None:
    chosen = Settings.model_validate({"THREADWAX_HOME": tmp_path, "THREADWAX_MODEL": "local:one"})
    private_file(chosen.embedded_model_file, '{"base_url": "http://127.0.0.1:1", "api_key": "k"}')
    assert endpoint_of(chosen).model == "local:one"
    assert "with the adapter one" in model_in_words(chosen)
    assert "there is no adapter 'one'" in adapter_fault(chosen)
    store(tmp_path, "one")
    assert not adapter_fault(chosen)


def test_the_model_without_an_adapter_has_a_name(tmp_path: Path) -> None:
    chosen = Settings.model_validate({"THREADWAX_HOME": tmp_path, "THREADWAX_MODEL": "local:base"})
    assert chosen.demo_model
    assert adapter_file(chosen, weights_path()) is None
    assert not adapter_fault(chosen)
    assert not system_prompt_note(chosen)
    assert "without an adapter" in model_in_words(chosen)


@needs_extra
def test_rows_are_reordered_so_that_rotation_gives_the_same_attention() -> None:
    """Transformers rotates halves of a head, llama.cpp pairs of neighbours."""
    import numpy as np

    from ops.finetune.adapter_gguf import _rows_permuted

    heads, size, inner = 3, 8, 5
    random = np.random.default_rng(0)
    matrix, inputs = random.normal(size=(heads * size, inner)), random.normal(size=inner)
    angles = np.array([0.3, 0.7, 1.1, 1.9])
    cos, sin = np.cos(angles), np.sin(angles)

    def rotated_halves(vector: "np.ndarray") -> "np.ndarray":  # type: ignore[type-arg]
        one, other = vector[:4], vector[4:]
        return np.concatenate([one * cos - other * sin, other * cos + one * sin])

    def rotated_neighbours(vector: "np.ndarray") -> "np.ndarray":  # type: ignore[type-arg]
        one, other = vector[0::2], vector[1::2]
        return np.stack([one * cos - other * sin, other * cos + one * sin], axis=1).ravel()

    permuted = _rows_permuted(matrix, heads)
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        theirs = rotated_halves(matrix[rows] @ inputs)
        ours = rotated_neighbours(permuted[rows] @ inputs)
        assert np.allclose(ours, theirs.reshape(2, 4).T.ravel())
    assert not np.allclose(permuted, matrix)


@contextmanager
def model(home: Path, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "model", *arguments],
        env=environment(home, **more),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def capital(home: Path) -> str:
    file = Settings(THREADWAX_HOME=home).embedded_model_file
    deadline = time.monotonic() + DEADLINE_S
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = json.loads(file.read_text())
    with OpenAI(
        base_url=found["base_url"], api_key=found["api_key"],
        default_headers={"Connection": "close"},
    ) as client:  # fmt: skip
        answer = client.chat.completions.create(
            model="any", max_tokens=12,
            messages=[{"role": "user", "content": "What is the capital of France?"}],
        )  # fmt: skip
    return answer.choices[0].message.content or ""


@needs_extra
@pytest.mark.parametrize("half", [True, False])
def test_the_embedded_server_answers_with_an_adapter(tmp_path: Path, half: bool) -> None:
    """With an adapter of zeros as without one, and with one of noise differently."""
    import numpy as np
    from safetensors.numpy import save_file

    from ops.finetune.adapter_gguf import write_adapter

    with model(tmp_path / "none"):
        plain = capital(tmp_path / "none")
    random = np.random.default_rng(0)
    for name, scale in (("zeros", 0.0), ("noise", 1.0)):
        folder = store(tmp_path, name)
        (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": 16, "r": 8}))
        save_file(
            {
                f"base_model.model.model.layers.{layer}.self_attn.{matrix}_proj.lora_{part}.weight":
                    (random.normal(size=shape) * scale).astype(np.float32)
                for layer in range(30)
                for matrix, rows in (("q", 576), ("k", 192))
                for part, shape in (("A", (8, 576)), ("B", (rows, 8)))
            },
            folder / "adapter_model.safetensors",
        )  # fmt: skip
        llama = SimpleNamespace(model_type="llama", num_attention_heads=9, num_key_value_heads=3)
        file = folder / adapters.ADAPTER_FILE
        write_adapter(folder, file, config=llama, name=name, half=half)
        store(tmp_path, name)  # with its hash
    with model(tmp_path, THREADWAX_MODEL="local:zeros") as process:
        assert capital(tmp_path) == plain
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE_S)
    assert "THREADWAX_SYSTEM_PROMPT='You are a pirate.'" in said
    with model(tmp_path, THREADWAX_MODEL="local:noise"):
        assert capital(tmp_path) != plain


@needs_extra
def test_a_hugging_face_model_is_served_to_the_client_and_to_the_dataflow(tmp_path: Path) -> None:
    """Streamed, in one piece, and by everything that `up` starts. The model speaks gibberish."""
    folder = tmp_path / "tiny"
    subprocess.run(
        [sys.executable, "-m", "tests.fakes.tiny_llama", str(folder)],
        check=True, timeout=DEADLINE_S, capture_output=True,
    )  # fmt: skip
    with model(tmp_path / "home", "--hf", str(folder)) as process:
        assert process.stderr
        said = ""
        for line in process.stderr:
            said += line
            if "Uvicorn running" in line:
                break
        found = re.search(r"OPENAI_BASE_URL=(\S+) THREADWAX_MODEL=(\S+)", said)
        assert found, said
        url, name = found.groups()
        question = [{"role": "user", "content": "hello"}]
        with OpenAI(base_url=url, api_key="none") as client:
            whole = client.chat.completions.create(
                model=name,
                messages=question,
                max_tokens=8,
                temperature=0,  # type: ignore[arg-type]
            )
            assert whole.choices[0].message.content
            assert whole.usage
            streamed = client.chat.completions.create(
                model=name, messages=question, max_tokens=8, temperature=0, stream=True,  # type: ignore[arg-type]
                stream_options={"include_usage": True},
            )  # fmt: skip
            chunks = list(streamed)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage
        chat = subprocess.run(
            [sys.executable, "-m", "ops", "up", "--chat"],
            input="hello\n", capture_output=True, text=True, timeout=DEADLINE_S, check=False,
            env=environment(
                tmp_path / "home", OPENAI_BASE_URL=url, THREADWAX_MODEL=name,
                THREADWAX_ANSWER_TOKENS="16", THREADWAX_CONTEXT_TOKENS="512",
            ),
        )  # fmt: skip
        assert chat.returncode == 0, chat.stderr
        assert chat.stdout.strip()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with model(tmp_path / "home", "--hf", str(tmp_path / "nothing")) as process:
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == lifecycle.CANNOT_START
    assert "Traceback" not in said
    assert "make setup-finetune" in said if MISSING else "holds no model" in said
