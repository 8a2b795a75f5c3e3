"""The doctor's findings, with real servers and without any."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import ops.web
from bots.web.settings import WebSettings
from dataflow.recorder.batch import Batch
from dataflow.recorder.changes import Stored
from dataflow.recorder.writer import write
from ops import doctor
from ops.doctor import CHECKS, PLATFORM_CHECKS, examine
from ops.doctor_web import NEEDED, web_findings
from ops.finding import CheckContext, Finding
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.database.engine import writing
from shared.database.tables import positions
from shared.private_file import private_file
from shared.settings import Settings
from tests.fakes.model import FakeModel
from tests.recorded import opened
from tests.running import dataflow, question


def settings(home: Path, **changes: str) -> Settings:
    return Settings.model_validate({"THREADWAX_HOME": home, **changes})


def about(findings: list[Finding], subject: str) -> Finding:
    return next(finding for finding in findings if finding.subject == subject)


async def test_without_nats_and_model_both_fail_with_advice(tmp_path: Path) -> None:
    """Checks that need NATS are left out."""
    foreign = settings(tmp_path, NATS_URL="nats://me:secret@127.0.0.1:9")
    findings = await examine(foreign, CHECKS)
    assert about(findings, "nats").grade == "fail"
    assert "threadwax up" in about(findings, "nats").advice
    assert about(findings, "model").grade == "fail"
    assert about(findings, "data folder").grade != "fail"
    assert not [finding for finding in findings if finding.subject == "streams"]
    assert "secret" not in repr(findings)


async def test_no_server_is_found_for_an_empty_data_folder(
    nats: NatsServer, tmp_path: Path
) -> None:
    """A server of another data folder on this machine does not count."""
    assert nats.pid
    empty = tmp_path / "empty"
    findings = await examine(settings(empty), CHECKS)
    assert about(findings, "nats").what == "no server runs on this data folder"
    assert "threadwax up" in about(findings, "nats").advice
    assert "does not exist yet" in about(findings, "data folder").what
    assert not empty.exists()


async def test_a_nats_url_without_its_password_is_named(nats: NatsServer, tmp_path: Path) -> None:
    """The advice is not that JetStream may be off."""
    findings = await examine(settings(tmp_path, NATS_URL=nats.guest_url), CHECKS)
    assert about(findings, "nats").grade == "fail"
    assert "NATS_URL lacks its password" in about(findings, "nats").advice
    assert not [finding for finding in findings if finding.subject == "streams"]


async def test_unknown_and_invalid_settings_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "secret")
    monkeypatch.setenv("SLACK_HTTP_PORT", "70000")
    found = await doctor.settings_read(CheckContext(settings(tmp_path)))
    assert [finding.grade for finding in found] == ["fail", "warn"]
    assert "SLACK_HTTP_PORT: it is too large" in found[0].what
    assert "DISCORD_BOT_TOKEN is not a setting of threadwax and has no effect" in found[1].what
    assert "secret" not in repr(found)


async def test_a_running_system_is_found_part_by_part(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """Streams, durability, dataflow and gateway have a finding each."""
    home = tmp_path / "nats-home"
    private_file(home / "nats" / "url", nats.url)
    findings = await examine(settings(home), CHECKS)
    for subject in ("nats", "streams", "durability"):
        assert about(findings, subject).grade == "ok", subject
    assert about(findings, "dataflow").grade == "fail"
    assert about(findings, "gateway").grade == "warn"

    bus = await Bus.connect(nats.url, name="test")
    await bus.js.add_consumer(names.PROMPTS, durable_name="recorder", filter_subject="p.>")
    findings = await examine(settings(home), CHECKS)
    assert about(findings, "dataflow").grade == "fail"
    flow = dataflow(home, nats.url, fake_model.base_url).start()
    await flow.ready()
    async with asyncio.timeout(30):
        while about(await examine(settings(home), CHECKS), "dataflow").grade != "ok":
            await asyncio.sleep(0.1)
    assert await flow.stop() == 0
    released = about(await examine(settings(home), CHECKS), "dataflow")
    assert (released.grade, released.what) == ("fail", "no process serves the questions")

    config = (await bus.js.stream_info(names.REPLIES)).config
    await bus.js.update_stream(config.evolve(max_bytes=100_000))
    await bus.js.publish("replies.test.ada.long", b"x" * 95_000)
    (full,) = await doctor.streams_there(CheckContext(settings(tmp_path), bus))
    assert (full.grade, full.what) == ("warn", "nearly full: REPLIES")
    assert about(findings, "unread").grade == "ok"
    await bus.dead_letter(subject="p.1.test.ada", data=b"{", reason="for the test")
    (letters,) = await doctor.unread(CheckContext(settings(tmp_path), bus))
    assert (letters.grade, letters.what) == ("warn", "1 dead letter waits")
    await bus.js.delete_stream(names.DLQ)
    findings = await examine(settings(home), CHECKS)
    assert about(findings, "streams").what == "missing: DLQ"
    await bus.close()


async def test_database(database_url: str, tmp_path: Path, bus: Bus) -> None:
    """It says whether the database is missing, behind, up to date or unreachable."""

    async def found(url: str, given: Bus | None = None) -> Finding:
        context = CheckContext(settings(tmp_path, DATABASE_URL=url), given)
        (finding,) = await doctor.database(context)
        return finding

    assert "threadwax recorder" in (await found(database_url)).advice
    engine = opened(database_url)
    assert (await found(database_url)).grade == "ok"
    await bus.publish(question("ada", 1, "Hello?"))
    assert "nothing is recorded" in (await found(database_url, bus)).what
    stored = (await bus.js.get_msg(names.PROMPTS, 1)).time
    message = Stored(names.PROMPTS, "p.1.test.ada", b"", 1, stored, stored)
    batch = Batch()
    batch.add(message, [])
    with writing(engine) as connection:
        write(connection, batch)
    assert (await found(database_url, bus)).grade == "ok"
    with writing(engine) as connection:
        connection.execute(positions.update().values(stored_at=stored - timedelta(hours=1)))
    assert "is recorded" in (await found(database_url, bus)).what
    engine.dispose()
    away = await found("postgresql://me:s3cret@127.0.0.1:1/bot")
    assert away.grade == "warn"
    assert "s3cret" not in repr(away)
    assert "mysql" not in (await found("mysql://me:s3cret@db/bot")).what


async def test_a_wrong_password_is_named(nats: NatsServer, tmp_path: Path) -> None:
    """Refused credentials are distinguished from a missing server."""
    url = f"nats://threadwax:wrong@127.0.0.1:{nats.port}"
    findings = await examine(settings(tmp_path, NATS_URL=url), CHECKS)
    assert "refuses the user and password" in about(findings, "nats").advice


@pytest.mark.parametrize(
    ("status", "grade", "advice"),
    [(200, "ok", ""), (401, "fail", "OPENAI_API_KEY"), (404, "fail", "OPENAI_BASE_URL")],
)
async def test_each_response_of_the_model_endpoint_has_its_advice(
    tmp_path: Path, status: int, grade: str, advice: str
) -> None:
    """The key is sent, but never shown."""
    keys: list[str] = []

    async def models(request: web.Request) -> web.Response:
        keys.append(request.headers.get("Authorization", ""))
        return web.json_response({"data": [{"id": "good"}]}, status=status)

    app = web.Application()
    app.router.add_get("/v1/models", models)
    async with TestServer(app) as server:
        base_url = str(server.make_url("/v1"))
        known = settings(
            tmp_path, OPENAI_BASE_URL=base_url, OPENAI_API_KEY="sk-key", THREADWAX_MODEL="good"
        )
        (finding,) = await doctor.model(CheckContext(known))
        unknown = known.model_copy(update={"model": "bad"})
        (other,) = await doctor.model(CheckContext(unknown))
    assert (finding.grade, other.grade) == (grade, "fail")
    assert advice in finding.advice
    assert keys == ["Bearer sk-key"] * 2
    assert "sk-key" not in repr([finding, other])


async def test_a_missing_model_endpoint_leads_to_its_variable(tmp_path: Path) -> None:
    """The advice names the variable to look at."""
    nobody = settings(tmp_path, OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    (finding,) = await doctor.model(CheckContext(nobody))
    assert finding.grade == "fail"
    assert "OPENAI_BASE_URL" in finding.advice
    assert not list(tmp_path.iterdir())


async def test_the_fallback_endpoint_is_checked_too(tmp_path: Path) -> None:
    """The advice names the settings of the fallback."""
    both = settings(
        tmp_path,
        OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        OPENAI_FALLBACK_BASE_URL="http://127.0.0.1:9/v1",
    )
    first, fallback = await doctor.model(CheckContext(both))
    assert (first.subject, fallback.subject) == ("model", "fallback")
    assert "OPENAI_FALLBACK_BASE_URL" in fallback.advice
    assert "OPENAI_BASE_URL" in first.advice


def test_an_unknown_platform_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A platform without checks is not silently skipped."""
    assert doctor.main(settings(tmp_path), "nowhere") == 1
    assert "nowhere" in capsys.readouterr().err


async def test_budgets_that_cannot_work_are_named(tmp_path: Path) -> None:
    """Without budgets it says nothing about them."""

    async def found(budgets: str) -> list[Finding]:
        changes = {"OPENAI_API_KEY": "key", "THREADWAX_MODEL": "my-llama"}
        given = settings(tmp_path, THREADWAX_BUDGETS=budgets, **changes)
        return await doctor.budgets(CheckContext(given))

    assert await found("{}") == []
    (fine,) = await found('{"each_user": {"tokens_per_day": 100000}}')
    assert fine.grade == "ok"
    price, small = await found('{"each_user": {"dollars_per_day": 1, "tokens_per_day": 9}}')
    assert (price.grade, small.grade) == ("warn", "warn")
    assert "my-llama" in price.what
    assert "THREADWAX_PRICES" in price.advice
    assert "THREADWAX_ANSWER_TOKENS" in small.advice


async def test_the_web_page_is_found_by_the_address_that_it_left(tmp_path: Path) -> None:
    """It says whether the page answers; something else at the same address is not the page."""
    private_file(tmp_path / "web" / "url", "http://127.0.0.1:9\n")
    free = WebSettings.model_validate({"port": 0})
    usual = settings(tmp_path, THREADWAX_WEB="on")
    found = await web_findings(usual, free)
    assert about(found, "web") == Finding(
        "warn", "web", "the page is not running", "start `threadwax up` or `threadwax web`"
    )
    assert "any name" in about(found, "sign in").what
    off = await web_findings(settings(tmp_path, THREADWAX_WEB="off"), free)
    assert about(off, "web").what == "the page is off"
    for text, grade in (("ok\n", "ok"), ("<html>", "fail")):

        async def healthz(_: web.Request, text: str = text) -> web.Response:
            return web.Response(text=text)

        app = web.Application()
        app.router.add_get("/healthz", healthz)
        async with TestServer(app) as server:
            private_file(tmp_path / "web" / "url", str(server.make_url("")).rstrip("/"))
            there = WebSettings.model_validate({"port": server.port})
            finding = about(await web_findings(usual, there), "web")
        assert finding.grade == grade
        assert str(there.port) in finding.what
    assert "THREADWAX_WEB_PORT" in finding.advice


async def test_the_provider_of_the_web_page_is_asked_for_its_configuration(
    tmp_path: Path,
) -> None:
    """It names where people sign in, and the address that the provider has to allow."""
    known = {name: f"https://login.example.org/{name}" for name in NEEDED}
    answers: dict[str, tuple[int, object]] = {
        "good": (200, known), "away": (404, {}), "other": (200, [1]),
        "less": (200, {"issuer": "x"}),
    }  # fmt: skip

    async def configuration(request: web.Request) -> web.Response:
        status, body = answers[request.match_info["name"]]
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_get("/{name}/.well-known/openid-configuration", configuration)
    async with TestServer(app) as server:
        base = str(server.make_url("")).rstrip("/")

        async def found(name: str) -> list[Finding]:
            page = WebSettings.model_validate({
                "port": 0, "url": "https://chat.example.org/", "oidc_client_id": "threadwax",
                "oidc_client_secret": "s3cret",
                "oidc_url": f"{base}/{name}/.well-known/openid-configuration",
            })  # fmt: skip
            return await web_findings(settings(tmp_path), page)

        good = await found("good")
        assert about(good, "sign in").grade == "ok"
        assert known["authorization_endpoint"] in about(good, "sign in").what
        assert about(good, "redirect").what == "https://chat.example.org/oauth2callback"
        assert "s3cret" not in repr(good)
        for name, what in (("away", "answers 404"), ("other", "issuer"), ("less", "authorization")):
            refused = about(await found(name), "sign in")
            assert (refused.grade, what in refused.what) == ("fail", True), name
            assert "THREADWAX_WEB_OIDC_URL" in refused.advice
    gone = about(await found("good"), "sign in")
    assert gone.grade == "fail"


async def test_wrong_settings_of_the_web_page_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that others can reach needs signing in; nothing else is checked then."""
    monkeypatch.setenv("THREADWAX_WEB_HOST", "0.0.0.0")  # noqa: S104  (nothing listens there)
    (found,) = await examine(settings(tmp_path), PLATFORM_CHECKS["web"])
    assert (found.grade, found.subject) == ("fail", "settings")
    assert "THREADWAX_WEB_OIDC_URL" in found.what


async def test_a_web_page_that_is_not_installed_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.web, "find_spec", lambda _: None)
    (found,) = await examine(settings(tmp_path), PLATFORM_CHECKS["web"])
    assert (found.grade, found.what) == ("ok", "off")
    assert "make web" in found.advice
