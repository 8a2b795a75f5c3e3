"""Files with a question in Slack, and notices about those that cannot be read."""

import asyncio
import json
from pathlib import Path

import jsonschema
import pytest

from bots.adapter import CANNOT_RUN
from bots.slack import files, run
from bots.slack.manifest import COMMANDS, EVENTS, SCOPES
from bots.slack.settings import SlackSettings
from bots.slack.tokens import SWAPPED
from ops.doctor_slack import slack_findings
from ops.finding import Finding
from shared.messages import Ask
from shared.settings import Settings
from tests.contract.worlds.slack import SlackWorld
from tests.fakes.slack import ALL_SCOPES, APP_TOKEN, BOT_TOKEN, FakeSlack, Fault
from tests.fakes.slack_shapes import forwarded

ROOT = Path(__file__).parents[2]
MANIFEST = json.loads((ROOT / "manifest.json").read_text())
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 100


async def asked_with(world: SlackWorld, *files: dict[str, object], text: str = "look") -> Ask:
    world.slack.dm(text, files=list(files), subtype="file_share")
    (ask,) = await world.until_heard()
    assert isinstance(ask, Ask)
    return ask


async def test_a_picture_goes_to_the_object_store() -> None:
    """Its type is taken from its bytes, not from Slack; the question names it in the store."""
    async with SlackWorld() as world:
        ask = await asked_with(world, world.slack.file("cat.png", "image/png", PNG))
        (picture,) = ask.attachments
        assert (picture.name, picture.media_type) == ("cat.png", "image/png")
        assert picture.blob is not None
        assert world.blobs == {picture.blob: PNG}
        assert world.slack.told("UADA") == []


async def test_a_picture_alone_is_a_question() -> None:
    """A picture needs no text to be answered."""
    async with SlackWorld() as world:
        ask = await asked_with(world, world.slack.file("a.png", "image/png", PNG), text="")
        assert len(ask.attachments) == 1


async def test_text_files_and_snippets_are_inlined_up_to_a_limit() -> None:
    """A snippet can have any type; a long text is cut and ends with a note."""
    async with SlackWorld() as world:
        ask = await asked_with(
            world,
            world.slack.file("a.txt", "text/plain", "é".encode() * 30_000),
            world.slack.file("b.py", "application/octet-stream", b"x = 1", mode="snippet"),
            world.slack.file("c.json", "application/json", b"\xef\xbb\xbf{}"),
        )
        long, snippet, data = (a.text or "" for a in ask.attachments)
        assert long.startswith("é" * 20_000)
        assert long.endswith("[cut: 30,000 characters]")
        assert (snippet, data) == ("x = 1", "{}")


@pytest.mark.parametrize(
    ("name", "kind", "data", "words"),
    [
        ("big.png", "image/png", PNG + b"0" * (11 << 20), "larger than 10 MB"),
        ("log.txt", "text/plain", b"x" * 300_000, "larger than"),
        ("a.txt", "text/plain", b"\xff\xfe\xff", "not text in UTF-8"),
        ("a.png", "image/png", b"this is no picture", "not a picture in PNG"),
        ("a.zip", "application/zip", b"PK", "pictures and text files only"),
    ],
)
async def test_an_unreadable_file_gets_a_clear_notice(
    name: str, kind: str, data: bytes, words: str
) -> None:
    """The question is asked anyway, and the model learns what is missing."""
    async with SlackWorld() as world:
        ask = await asked_with(world, world.slack.file(name, kind, data))
        await world.slack.until(lambda: world.slack.told("UADA"))
        (notice,) = world.slack.told("UADA")
        assert name in notice
        assert words in notice
        assert words in ask.attachments[0].note
        assert ask.attachments[0].text is None
        assert world.blobs == {}


async def test_an_unknown_size_is_measured() -> None:
    """The limit applies to the received bytes, not to the announced size."""
    async with SlackWorld() as world:
        file = world.slack.file("log.txt", "text/plain", b"x" * 300_000, size=5)
        ask = await asked_with(world, file)
        assert "larger than" in ask.attachments[0].note


async def test_a_sign_in_page_is_not_a_file() -> None:
    """Without files:read, Slack sends a sign-in page, and the notice names the missing scope."""
    slack = FakeSlack()
    slack.scopes = set(ALL_SCOPES) - {"files:read"}
    async with SlackWorld(slack=slack) as world:
        await asked_with(
            world,
            slack.file("a.png", "image/png", PNG),
            slack.file("a.html", "text/html", b"<p>"),
        )
        await slack.until(lambda: len(slack.told("UADA")) == 2)
        assert all("files:read" in notice for notice in slack.told("UADA"))
        assert world.blobs == {}


async def test_the_token_goes_only_to_slack() -> None:
    """Files on other hosts are not fetched with it."""
    async with SlackWorld() as world:
        file = world.slack.file("a.png", "image/png", PNG)
        file |= {"url_private_download": f"http://localhost:{world.slack.port}/files/a.png"}
        ask = await asked_with(world, file)
        assert "is not stored in Slack" in ask.attachments[0].note


STUB = {"id": "F9", "mode": "file_access", "file_access": "check_file_info", "created": 0,
        "timestamp": 0, "user": ""}  # fmt: skip
"""Everything that an event says about another company's file: https://docs.slack.dev/apis/slack-connect"""


async def test_a_file_of_another_company_is_looked_up() -> None:
    """The event has only its id; `files.info` has the other fields."""
    async with SlackWorld() as world:
        world.slack.shared_files["F9"] = world.slack.file("cat.png", "image/png", PNG)
        ask = await asked_with(world, STUB)
        assert [(a.name, a.media_type, a.note) for a in ask.attachments] == [
            ("cat.png", "image/png", "")
        ]
        assert list(world.blobs.values()) == [PNG]
        assert world.slack.told("UADA") == []


@pytest.mark.parametrize(
    ("found", "fault", "words"),
    [
        (None, None, "it was deleted, or Slack does not let me open it"),
        ({"mode": "tombstone"}, None, "it was deleted, or Slack does not let me open it"),
        (STUB, None, "another company shares it"),
        ({}, None, "another company shares it"),
        ({"name": "p", "file_access": "access_denied"}, None, "Slack does not let me open it"),
        ({"name": "p", "mode": "external", "external_type": "gdrive"}, None, "in Google Drive"),
        (None, Fault("error", code="missing_scope"), "files:read"),
        (None, Fault("status", status=404), "Slack did not tell me which file it is"),
        (None, Fault("limit"), "Slack did not tell me which file it is"),
    ],
)
async def test_a_file_that_cannot_be_opened_is_named_to_model_and_person(
    found: dict[str, object] | None, fault: Fault | None, words: str
) -> None:
    """The model gets its name and the reason; two deliveries cause one notice."""
    async with SlackWorld() as world:
        if found is not None:
            world.slack.shared_files["F9"] = found
        if fault is not None:
            world.slack.always["files.info"] = fault
        world.slack.mention("what is this?", files=[STUB])
        (ask,) = await world.until_heard()
        assert isinstance(ask, Ask)
        (named,) = ask.attachments
        assert (named.text, named.blob) == (None, None)
        assert words in named.note
        assert named.name in {"a file", "p"}
        await world.until_acknowledged(2)
        (notice,) = world.slack.told("UADA")
        assert words in notice


@pytest.mark.parametrize("mode", ["tombstone", "hidden_by_limit"])
async def test_a_file_that_was_deleted_long_ago_causes_no_notice(mode: str) -> None:
    """It belongs to a forwarded message, so only the model needs to know that it is gone."""
    async with SlackWorld() as world:
        gone = {"id": "F1", "mode": mode}
        world.slack.dm("what now?", attachments=[forwarded("see the log", files=[gone])])
        (ask,) = await world.until_heard()
        assert isinstance(ask, Ask)
        assert ask.attachments[0].note
        await world.until_acknowledged(1)
        assert world.slack.told("UADA") == []


CLIP = {"id": "F1", "name": "audio_message.m4a", "mimetype": "audio/mp4", "subtype": "slack_audio",
        "mode": "hosted", "duration_ms": 4000}  # fmt: skip


@pytest.mark.parametrize("status", ["complete", "failed"])
async def test_a_clip_that_slack_is_still_transcribing_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """Its event comes earlier, and no event says when the transcription is ready."""
    monkeypatch.setattr(files, "TRANSCRIPTION_POLL_S", 0.2)
    async with SlackWorld() as world:
        processing = {**CLIP, "transcription": {"status": "processing"}}
        world.slack.shared_files["F1"] = dict(processing)
        world.slack.dm("", files=[processing])
        async with asyncio.timeout(10):
            while not any(method == "files.info" for method, _ in world.slack.calls):
                await asyncio.sleep(0.01)
        heard = {"status": status, "preview": {"content": "when do you open", "has_more": False}}
        world.slack.shared_files["F1"]["transcription"] = (
            heard if status == "complete" else {"status": "failed"}
        )
        if status == "complete":
            (ask,) = await world.until_heard()
            assert isinstance(ask, Ask)
            assert "when do you open" in (ask.attachments[0].text or "")
        else:
            await world.until_acknowledged(1)
            assert "no transcription" in world.slack.told("UADA")[0]


async def test_a_voice_clip_is_read_by_its_transcription(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can be a question by itself. Without a transcription, its author gets the reason."""
    monkeypatch.setattr(files, "TRANSCRIPTION_WAIT_S", 0.1)
    preview = {"content": "when does the office open", "has_more": False}
    async with SlackWorld() as world:
        heard = {"transcription": {"status": "complete", "locale": "en-US", "preview": preview}}
        ask = await asked_with(world, {**CLIP, **heard}, text="")
        assert "when does the office open" in (ask.attachments[0].text or "")
        assert world.slack.told("UADA") == []
        world.slack.dm("", files=[{**CLIP, "transcription": {"status": "processing"}}])
        await world.until_acknowledged(2)
        (notice,) = world.slack.told("UADA")
        assert "ask again in a minute" in notice
        assert len(world.heard) == 1


# --- the app in Slack -----------------------------------------------------------------------------


def text(limit: int, least: int = 1) -> dict[str, object]:
    return {"type": "string", "minLength": least, "maxLength": limit}


SCHEMA = {
    # Slack's limits for the parts that we use: https://docs.slack.dev/reference/app-manifest
    "type": "object",
    "additionalProperties": False,
    "required": ["display_information", "features", "oauth_config", "settings"],
    "properties": {
        "_metadata": {"type": "object"},
        "display_information": {
            "type": "object", "additionalProperties": False, "required": ["name"],
            "properties": {
                "name": text(35), "description": text(140), "long_description": text(4000, 175),
                "background_color": {"type": "string", "pattern": "^#([0-9a-f]{3}|[0-9a-f]{6})$"},
            },
        },
        "features": {
            "type": "object", "additionalProperties": False,
            "properties": {
                "agent_view": {
                    "type": "object", "additionalProperties": False,
                    "required": ["agent_description"],
                    "properties": {"agent_description": text(300)},
                },
                "app_home": {"type": "object", "additionalProperties": {"type": "boolean"}},
                "bot_user": {
                    "type": "object", "required": ["display_name"],
                    "properties": {"display_name": text(80), "always_online": {"type": "boolean"}},
                },
                "slash_commands": {
                    "type": "array", "maxItems": 50,
                    "items": {
                        "type": "object", "required": ["command", "description"],
                        "additionalProperties": False,
                        "properties": {
                            "command": {"type": "string", "pattern": "^/[a-z_-]{1,31}$"},
                            "description": text(2000), "usage_hint": text(1000),
                            "should_escape": {"type": "boolean"},
                        },
                    },
                },
            },
        },
        "oauth_config": {"type": "object"},
        "settings": {
            "type": "object", "additionalProperties": False,
            "properties": {
                "event_subscriptions": {"type": "object"}, "interactivity": {"type": "object"},
                "org_deploy_enabled": {"type": "boolean"},
                "socket_mode_enabled": {"type": "boolean"},
                "token_rotation_enabled": {"type": "boolean"},
            },
        },
    },
}  # fmt: skip


def test_the_manifest_requests_what_the_adapter_needs() -> None:
    """Its scopes, events and commands are those in the code, and it respects Slack's limits."""
    jsonschema.validate(MANIFEST, SCHEMA)
    assert tuple(MANIFEST["oauth_config"]["scopes"]["bot"]) == SCOPES
    assert tuple(MANIFEST["settings"]["event_subscriptions"]["bot_events"]) == EVENTS
    assert tuple(c["command"] for c in MANIFEST["features"]["slash_commands"]) == COMMANDS
    hooks = json.loads((ROOT / ".slack" / "hooks.json").read_text())
    assert list(hooks["hooks"]) == ["get-hooks"]


async def diagnosis(slack: FakeSlack, **changes: str | None) -> list[Finding]:
    values = {**slack.env, "SLACK_CONFIG_TOKEN": BOT_TOKEN, **changes}
    settings = {k: v for k, v in values.items() if v is not None}
    return await slack_findings(SlackSettings.model_validate(settings))


def test_tokens_are_not_printed() -> None:
    """They are not in the printed form of the settings."""
    names = ("BOT_TOKEN", "APP_TOKEN", "SIGNING_SECRET", "CLIENT_SECRET", "CONFIG_TOKEN")
    settings = SlackSettings.model_validate({f"SLACK_{name}": "hush-hush" for name in names})
    assert "hush-hush" not in repr(settings)


async def test_the_doctor_names_everything_that_is_missing() -> None:
    """There is a line for each missing scope, event, command and switch."""
    slack = await FakeSlack().start()
    slack.manifest = json.loads(json.dumps(MANIFEST))
    assert {f.grade for f in await diagnosis(slack)} == {"ok"}
    slack.scopes = set(ALL_SCOPES) - {"files:read", "users:read"}
    del slack.manifest["features"]["slash_commands"][0]
    slack.manifest["settings"]["event_subscriptions"]["bot_events"].remove("message.im")
    slack.manifest["settings"]["interactivity"]["is_enabled"] = False
    slack.manifest["settings"]["socket_mode_enabled"] = False
    said = " ".join(f.what for f in await diagnosis(slack) if f.grade != "ok")
    for missing in (
        "files:read",
        "users:read",
        "message.im",
        "/ask",
        "interactivity",
        "Socket Mode",
    ):
        assert missing in said
    await slack.stop()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-wrong"}, "refuses SLACK_BOT_TOKEN: invalid_auth"),
        ({"SLACK_APP_TOKEN": "xapp-wrong"}, "refuses SLACK_APP_TOKEN: invalid_auth"),
        ({"SLACK_BOT_TOKEN": None}, "SLACK_BOT_TOKEN is not set"),
        ({"SLACK_APP_TOKEN": None}, "neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set"),
        ({"SLACK_API_URL": "http://127.0.0.1:9/api/"}, "does not answer"),
        (
            {"SLACK_BOT_TOKEN": APP_TOKEN, "SLACK_APP_TOKEN": BOT_TOKEN},
            "SLACK_BOT_TOKEN holds the app-level token, and SLACK_APP_TOKEN the bot token",
        ),
        ({"SLACK_BOT_TOKEN": "xoxp-wrong"}, "SLACK_BOT_TOKEN holds a user token (xoxp-...)"),
        ({"SLACK_APP_TOKEN": BOT_TOKEN}, "SLACK_APP_TOKEN holds a bot token (xoxb-...)"),
    ],
)
async def test_the_doctor_names_what_does_not_work(
    changes: dict[str, str | None], words: str
) -> None:
    """A wrong token is reported by the name of its setting, and never shown."""
    slack = await FakeSlack().start()
    findings = await diagnosis(slack, **changes)
    said = " ".join(f"{f.what} {f.advice}" for f in findings)
    assert words in said
    assert "wrong" not in said
    assert any(f.grade == "fail" for f in findings)
    whats = [finding.what for finding in findings]
    assert len(whats) == len(set(whats))
    assert said.count("invalid_auth") <= 1
    await slack.stop()


def test_swapped_tokens_stop_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what to do and shows no token."""
    swapped = {"SLACK_BOT_TOKEN": APP_TOKEN, "SLACK_APP_TOKEN": BOT_TOKEN}
    settings = Settings.model_validate({"THREADWAX_HOME": tmp_path})
    assert run.main(settings, SlackSettings.model_validate(swapped)) == CANNOT_RUN
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{SWAPPED}. docs/slack.md"
    assert not any(tmp_path.iterdir())


async def test_the_doctor_does_not_guess() -> None:
    """Scopes that are unknown are not reported as missing, nor unchecked events as faults."""
    slack = await FakeSlack().start()
    slack.says_scopes = False
    findings = {f.subject: f for f in await diagnosis(slack, SLACK_CONFIG_TOKEN=None)}
    assert findings["scopes"].grade == "warn"
    assert "does not say which are granted" in findings["scopes"].what
    slack.says_scopes = True
    assert {f.grade for f in await diagnosis(slack, SLACK_CONFIG_TOKEN=None)} == {"ok"}
    await slack.stop()
