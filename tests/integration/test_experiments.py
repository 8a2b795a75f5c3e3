"""Experiments in the real dataflow: a share of the users gets another model or prompt."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflow.model.dialects import DEMO_MODEL
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.experiments import Experiment
from shared.messages import Again
from shared.private_file import private_file
from shared.settings import Settings
from tests.fakes.model import FakeModel, Fault
from tests.running import Running, answer_to, dataflow, direct, question


@pytest.fixture(name="other_model")
async def _other_model() -> AsyncIterator[FakeModel]:
    model = await FakeModel(reply=lambda _: "from the other model").start()
    yield model
    await model.stop()


@pytest.fixture(name="flow")
def _flow(tmp_path: Path, nats: NatsServer, fake_model: FakeModel) -> Iterator[Callable[..., Any]]:
    """Starts the dataflow with experiments; the last one that was started is killed at the end."""
    started: list[Running] = []

    async def start(*experiments: dict[str, Any]) -> Running:
        for running in started:
            running.kill()
        running = dataflow(
            tmp_path / "flow", nats.url, fake_model.base_url,
            THREADWAX_EXPERIMENTS=json.dumps(experiments), THREADWAX_MODEL_GIVE_UP_S="3",
        )  # fmt: skip
        running.log.write_text("")
        started.append(running)
        return await running.start().ready()

    yield start
    for running in started:
        running.kill()


def of_group(experiment: dict[str, Any], *, inside: bool) -> str:
    """Somebody who takes part, or does not."""
    one = Experiment(**experiment)
    return next(
        name for name in (f"p{number}" for number in range(1000))
        if one.has(f"test:{name}") is inside
    )  # fmt: skip


async def test_a_share_of_the_users_gets_another_endpoint(
    flow: Callable[..., Any], bus: Bus, fake_model: FakeModel, other_model: FakeModel
) -> None:
    """They keep it across restarts; what a place sets wins; without it, everything is as usual."""
    terra = {"name": "terra", "percent": 50, "model": "terra", "base_url": other_model.base_url,
             "api_key": "other-key"}  # fmt: skip
    inside, outside = of_group(terra, inside=True), of_group(terra, inside=False)
    running = await flow(terra)
    assert "experiment terra" in running.log.read_text()
    asked = question(inside, 1, "Hello?")
    reply = await answer_to(bus, asked)
    assert (reply.experiment, reply.model, reply.text) == ("terra", "terra", "from the other model")
    assert other_model.requests[0]["model"] == "terra"
    assert other_model.headers[0]["Authorization"] == "Bearer other-key"
    usual = await answer_to(bus, question(outside, 1, "Hello?"))
    assert (usual.experiment, usual.model) == ("", "fake")
    own = await answer_to(bus, question(inside, 2, "Hello?", model="own"))
    assert (own.experiment, own.model) == ("", "own")
    assert fake_model.requests[-1]["model"] == "own"
    persona = await answer_to(bus, question(inside, 3, "Hello?", persona="A pirate."))
    assert persona.experiment == "terra"
    assert other_model.requests[-1]["messages"][0]["content"] == "A pirate."

    await flow(terra)
    again = Again(id="again-1", user=asked.user, place=direct(inside), said_at=asked.said_at,
                  prompt_id=asked.id)  # fmt: skip
    assert (await answer_to(bus, again)).experiment == "terra"
    assert (await answer_to(bus, question(outside, 4, "Hello?"))).experiment == ""

    await flow()
    after = await answer_to(bus, question(inside, 5, "Hello?"))
    assert (after.experiment, after.model) == ("", "fake")


async def test_a_share_of_the_users_gets_another_prompt(
    flow: Callable[..., Any], bus: Bus, fake_model: FakeModel
) -> None:
    """The conversation stays the same; only its system prompt is replaced."""
    brief = {"name": "brief", "percent": 50, "prompt": "Be brief."}
    inside, outside = of_group(brief, inside=True), of_group(brief, inside=False)
    await flow(brief)
    for name in (inside, outside):
        await answer_to(bus, question(name, 1, "Hello?"))
    replies = [await answer_to(bus, question(name, 2, "And?")) for name in (inside, outside)]
    assert [reply.experiment for reply in replies] == ["brief", ""]
    changed, usual = (request["messages"] for request in fake_model.requests[-2:])
    assert changed[0] == {"role": "system", "content": "Be brief."}
    assert usual[0]["content"] != "Be brief."
    assert [message["content"] for message in changed[1:]] == [
        message["content"] for message in usual[1:]
    ]
    own = await answer_to(bus, question(inside, 3, "Hello?", persona="A pirate."))
    assert own.experiment == ""
    assert fake_model.requests[-1]["messages"][0]["content"] == "A pirate."


async def test_two_adapters_of_one_embedded_server_are_chosen_by_name(
    tmp_path: Path, nats: NatsServer, bus: Bus, fake_model: FakeModel
) -> None:
    """The embedded server has loaded both; each request says which one it wants, or none."""
    home = tmp_path / "flow"
    home.mkdir()
    settings = Settings.model_validate({"THREADWAX_HOME": home})
    running_server = {
        "base_url": fake_model.base_url, "api_key": "key", "adapters": {"kind": 0, "brief": 1},
    }  # fmt: skip
    private_file(settings.embedded_model_file, json.dumps(running_server))
    kind = {"name": "kind", "percent": 30, "model": "local:kind"}
    brief = {"name": "brief", "percent": 40, "model": "local:brief"}
    flow = Running(
        "dataflow", log=home / "log",
        env={"NATS_URL": nats.url, "THREADWAX_HOME": str(home),
             "THREADWAX_EXPERIMENTS": json.dumps([kind, brief])},
    ).start()  # fmt: skip
    one, other = Experiment(**kind), Experiment(**brief)  # type: ignore[arg-type]
    users = [f"p{number}" for number in range(1000)]
    of_kind = next(name for name in users if one.has(f"test:{name}"))
    of_brief, of_none = (
        next(name for name in users
             if not one.has(f"test:{name}") and other.has(f"test:{name}") is inside)
        for inside in (True, False)
    )  # fmt: skip
    try:
        await flow.ready()
        asked = {}
        for name in (of_kind, of_brief, of_none, of_kind):
            reply = await answer_to(bus, question(name, len(fake_model.requests), "Hello?"))
            request = fake_model.requests[-1]
            asked[name] = (reply.experiment, reply.model, request["model"], request.get("lora"))
    finally:
        flow.kill()
    assert asked == {
        of_kind: ("kind", "local:kind", "local:kind", [{"id": 0, "scale": 1.0}]),
        of_brief: ("brief", "local:brief", "local:brief", [{"id": 1, "scale": 1.0}]),
        of_none: ("", DEMO_MODEL, DEMO_MODEL, None),
    }


async def test_if_the_experiment_fails_the_usual_model_answers(
    flow: Callable[..., Any], bus: Bus, other_model: FakeModel
) -> None:
    other_model.always = Fault(status=404, error={"message": "no such model"})
    broken = {"name": "broken", "percent": 100, "model": "x", "base_url": other_model.base_url}
    await flow(broken)
    reply = await answer_to(bus, question("ada", 1, "Hello?"))
    assert (reply.outcome, reply.model, reply.experiment) == ("answered", "fake", "broken")
    assert "usual language model is not available" in reply.text


async def test_an_endpoint_that_does_not_answer_is_reported_at_the_start(
    flow: Callable[..., Any],
) -> None:
    lost = {"name": "lost", "percent": 1, "model": "x", "base_url": "http://127.0.0.1:9/v1"}
    running = await flow(lost)
    assert "SAY experiment lost: cannot reach http://127.0.0.1:9/v1" in running.log.read_text()
