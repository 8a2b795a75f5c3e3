"""Files that come with a question in Slack, and what is told about those that cannot be read."""

import json
from pathlib import Path

import jsonschema
import pytest

from bots.slack.app import COMMANDS, EVENTS, SCOPES
from bots.slack.settings import SlackSettings
from ops.doctor import Finding
from ops.doctor_slack import slack_findings
from shared.messages import Ask
from tests.contract.worlds.slack import SlackWorld
from tests.fakes.slack import ALL_SCOPES, APP_TOKEN, BOT_TOKEN, FakeSlack

ROOT = Path(__file__).parents[2]
MANIFEST = json.loads((ROOT / "manifest.json").read_text())
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 100


async def asked_with(world: SlackWorld, *files: dict[str, object], text: str = "look") -> Ask:
    world.slack.dm(text, files=list(files), subtype="file_share")
    (ask,) = await world.until_heard()
    assert isinstance(ask, Ask)
    return ask


async def test_a_picture_goes_to_the_object_store() -> None:
    """By its bytes, whatever Slack calls it; the question carries its name there."""
    async with SlackWorld() as world:
        ask = await asked_with(world, world.slack.file("cat.png", "image/png", PNG))
        (picture,) = ask.attachments
        assert (picture.name, picture.media_type) == ("cat.png", "image/png")
        assert picture.blob is not None
        assert world.blobs == {picture.blob: PNG}
        assert world.slack.told("UADA") == []


async def test_a_picture_alone_is_a_question() -> None:
    """No words are needed beside it."""
    async with SlackWorld() as world:
        ask = await asked_with(world, world.slack.file("a.png", "image/png", PNG), text="")
        assert len(ask.attachments) == 1


async def test_text_files_and_snippets_are_inlined_up_to_a_limit() -> None:
    """A snippet's kind may be anything; a long text says that it is cut."""
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
        ("a.png", "image/png", b"this is no picture", "no picture in PNG"),
        ("a.zip", "application/zip", b"PK", "pictures and text files only"),
    ],
)
async def test_an_unreadable_file_gets_a_clear_word(
    name: str, kind: str, data: bytes, words: str
) -> None:
    """The question is asked all the same, and the model knows what is missing."""
    async with SlackWorld() as world:
        ask = await asked_with(world, world.slack.file(name, kind, data))
        await world.slack.until(lambda: world.slack.told("UADA"))
        (told,) = world.slack.told("UADA")
        assert name in told
        assert words in told
        assert words in (ask.attachments[0].text or "")
        assert world.blobs == {}


async def test_a_size_that_slack_does_not_tell_is_measured() -> None:
    """The limit holds for what arrives, not for what was announced."""
    async with SlackWorld() as world:
        file = world.slack.file("log.txt", "text/plain", b"x" * 300_000, size=5)
        ask = await asked_with(world, file)
        assert "larger than" in (ask.attachments[0].text or "")


async def test_a_login_page_is_no_file() -> None:
    """Without files:read Slack answers 200 and a page: the user hears which scope is missing."""
    slack = FakeSlack()
    slack.scopes = set(ALL_SCOPES) - {"files:read"}
    async with SlackWorld(slack=slack) as world:
        await asked_with(
            world,
            slack.file("a.png", "image/png", PNG),
            slack.file("a.html", "text/html", b"<p>"),
        )
        await slack.until(lambda: len(slack.told("UADA")) == 2)
        assert all("files:read" in told for told in slack.told("UADA"))
        assert world.blobs == {}


async def test_the_token_goes_to_slack_alone() -> None:
    """A file that lies elsewhere is not fetched with the bot's token."""
    async with SlackWorld() as world:
        file = world.slack.file("a.png", "image/png", PNG)
        file |= {"url_private_download": f"http://localhost:{world.slack.port}/files/a.png"}
        ask = await asked_with(world, file)
        assert "does not lie with Slack" in (ask.attachments[0].text or "")


# --- the app in Slack -----------------------------------------------------------------------------


def text(limit: int, least: int = 1) -> dict[str, object]:
    return {"type": "string", "minLength": least, "maxLength": limit}


SCHEMA = {
    # https://docs.slack.dev/reference/app-manifest: the limits that it states for what we use.
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


def test_the_manifest_is_what_the_adapter_needs() -> None:
    """Scopes, events and commands are those of the code, within the limits that Slack states."""
    jsonschema.validate(MANIFEST, SCHEMA)
    assert tuple(MANIFEST["oauth_config"]["scopes"]["bot"]) == SCOPES
    assert tuple(MANIFEST["settings"]["event_subscriptions"]["bot_events"]) == EVENTS
    assert tuple(c["command"] for c in MANIFEST["features"]["slash_commands"]) == COMMANDS
    hooks = json.loads((ROOT / ".slack" / "hooks.json").read_text())
    assert list(hooks["hooks"]) == ["get-hooks"]


async def diagnosis(slack: FakeSlack, **changes: str | None) -> list[Finding]:
    values = {
        "SLACK_API_URL": slack.url, "SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_CONFIG_TOKEN": BOT_TOKEN, **changes,
    }  # fmt: skip
    settings = {k: v for k, v in values.items() if v is not None}
    return await slack_findings(SlackSettings.model_validate(settings))


def test_tokens_do_not_show() -> None:
    """A printed settings object tells none of them."""
    names = ("BOT_TOKEN", "APP_TOKEN", "SIGNING_SECRET", "CLIENT_SECRET", "CONFIG_TOKEN")
    settings = SlackSettings.model_validate({f"SLACK_{name}": "hush-hush" for name in names})
    assert "hush-hush" not in repr(settings)


async def test_the_doctor_names_everything_that_is_missing() -> None:
    """Well: no complaint. Each missing scope, event, command and switch has a line of its own."""
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
        ({"SLACK_APP_TOKEN": None}, "neither SLACK_APP_TOKEN nor a signing secret"),
        ({"SLACK_API_URL": "http://127.0.0.1:9/api/"}, "does not answer"),
    ],
)
async def test_the_doctor_names_what_does_not_work(
    changes: dict[str, str | None], words: str
) -> None:
    """A wrong token is named by its setting, and never shown."""
    slack = await FakeSlack().start()
    findings = await diagnosis(slack, **changes)
    said = " ".join(f"{f.what} {f.advice}" for f in findings)
    assert words in said
    assert "wrong" not in said
    assert any(f.grade == "fail" for f in findings)
    await slack.stop()
