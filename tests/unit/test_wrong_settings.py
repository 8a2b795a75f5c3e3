"""Each wrong setting is reported in one line with its name, place, fault and remedy."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from bots.discord.access import Asker, refusal
from bots.discord.settings import DiscordSettings
from bots.slack.access import NOT_YOU, Access
from bots.slack.settings import SlackSettings
from bots.slack.tokens import misplaced
from ops import settings as reading
from ops.setting_names import PREFIXES
from shared.settings import Settings

SECRET = "s3cret-value"  # noqa: S105


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the settings of this machine, and uses an empty current folder."""
    import os  # noqa: PLC0415

    for name in os.environ:
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").touch()
    reading._entries.cache_clear()


def lines_of(kind: type[BaseSettings], capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        reading.read(kind)
    assert ended.value.code == reading.EXIT_CODE
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


WRONG: list[tuple[type[BaseSettings], str, str, str]] = [
    (Settings, "THREADWAX_HTTP_PORT", "99999", "it is too large: set it to a whole number from 0"),
    (Settings, "THREADWAX_HTTP_PORT", "-1", "it is too small: set it to a whole number from 0"),
    (Settings, "THREADWAX_HTTP_PORT", SECRET, "it is not a whole number: set it to a whole number"),
    (Settings, "THREADWAX_HTTP_PORT", "9" * 5000, "it is "),
    (Settings, "THREADWAX_HTTP_HOST", "no host", "not a host name or address"),
    (Settings, "THREADWAX_LOG_LEVEL", "loud", "set it to one of debug, info, warning, error"),
    (Settings, "THREADWAX_HOME", "~nobody-of-that-name/x", "there is no such user"),
    (Settings, "THREADWAX_DIALECT", "esperanto", "set it to one of openai, ollama"),
    (Settings, "THREADWAX_CONTEXT_TOKENS", "12", "too small: set it to a whole number from 512 or"),
    (Settings, "THREADWAX_MODEL_GIVE_UP_S", "0", "too small: set it to a number above 0"),
    (Settings, "THREADWAX_MODEL_GIVE_UP_S", "nan", "not a finite number"),
    (Settings, "THREADWAX_MODEL_SILENCE_S", "inf", "not a finite number"),
    (Settings, "THREADWAX_EVICT_AFTER_S", "soon", "it is not a number: set it to a number from 2"),
    (Settings, "THREADWAX_PARTITIONS", "0", "too small: set it to a whole number from 1 to 256"),
    (Settings, "THREADWAX_PARTITIONS", "257", "too large: set it to a whole number from 1 to 256"),
    (Settings, "THREADWAX_PARTITIONS", "16.5", "it is not a whole number: set it to a whole"),
    (Settings, "OPENAI_BASE_URL", "127.0.0.1:11434/v1", "does not begin with https:// or http://"),
    (Settings, "OPENAI_BASE_URL", "http://", "names no host"),
    (Settings, "OPENAI_BASE_URL", "http://h:99999/v1", "host or port cannot be read"),
    (Settings, "OPENAI_BASE_URL", "htp://h/v1", "does not begin with https:// or http://"),
    (Settings, "OPENAI_BASE_URL", '"http://h/v1"', "it has quotation marks around it: remove"),
    (Settings, "OPENAI_BASE_URL", "\u201chttp://h/v1\u201d", "it has quotation marks around it"),
    (Settings, "OPENAI_BASE_URL", "http://my host:1/v1", "it contains a blank"),
    (Settings, "OPENAI_BASE_URL", "http://h/v1 http://h/v2", "it contains a blank"),
    (Settings, "OPENAI_BASE_URL", "http://h/v1?key=x", "remove that and everything after it"),
    (Settings, "OPENAI_BASE_URL", "http://h/v1#x", "remove that and everything after it"),
    (Settings, "OPENAI_BASE_URL", "http://*:1/v1", "names no host"),
    (Settings, "OPENAI_BASE_URL", "http://<host>:1/v1", "names no host"),
    (Settings, "OPENAI_BASE_URL", "http://$HOST:1/v1", "names no host"),
    (Settings, "OPENAI_BASE_URL", "http://.../v1", "names no host"),
    (Settings, "OPENAI_BASE_URL", "http://h/v1/chat/completions", "it ends in /chat/completions,"),
    (Settings, "OPENAI_BASE_URL", "http://h/v1/models/", "it ends in /models/, which every call"),
    (Settings, "OPENAI_FALLBACK_BASE_URL", "http://h/completions", "it ends in /completions"),
    (Settings, "THREADWAX_HOME", "$HOME/data", "a variable such as $HOME is not replaced here"),
    (Settings, "OPENAI_API_KEY", f"{SECRET} # mine", "it has a character that no key or token"),
    (Settings, "OPENAI_API_KEY", f'"{SECRET}"', "it has quotation marks around it"),
    (Settings, "OPENAI_API_KEY", f"{SECRET}\n{SECRET}", "it has a character that no key or token"),
    (Settings, "OPENAI_API_KEY", f"{SECRET}\u2026", "it has a character that no key or token has"),
    (Settings, "NATS_URL", f"nats://u:{SECRET}/x@h", "it cannot be read: write it as nats://"),
    (Settings, "NATS_URL", "http://127.0.0.1:4222", "does not begin with nats://"),
    (SlackSettings, "SLACK_BOT_TOKEN", f"\u201c{SECRET}\u201d", "quotation marks"),
    (SlackSettings, "SLACK_HTTP_PORT", "65536", "too large: set it to a whole number from 0 to"),
    (SlackSettings, "SLACK_HTTP_HOST", "http://0.0.0.0", "not a host name or address"),
    (SlackSettings, "SLACK_API_URL", "slack.com/api", "does not begin with https://"),
    (SlackSettings, "SLACK_ALLOW_GUESTS", "perhaps", "neither true nor false: set it to true or"),
    (SlackSettings, "SLACK_ALLOW_GUESTS", "2", "neither true nor false"),
    (SlackSettings, "SLACK_FOLLOW_UP", "never", "set it to one of always, asker, mention"),
    (SlackSettings, "SLACK_STREAMING", "on", "set it to one of auto, native, update, off"),
    (SlackSettings, "SLACK_CHANNELS", "{bad json}", "it is not JSON (character 2)"),
    (SlackSettings, "SLACK_CHANNELS", "[1]", "it is not an object: write it as {"),
    (SlackSettings, "SLACK_CHANNELS", '{"#general": {}}', "not the id of a channel"),
    (SlackSettings, "SLACK_CHANNELS", '{"C1": {"persnoa": "x"}}', "in C1.persnoa: this name is"),
    (SlackSettings, "SLACK_CHANNELS", '{"C1": {"persona": 1}}', "in C1.persona: it is not text"),
    (SlackSettings, "SLACK_CHANNELS", "[" * 100_000, "it is "),
    (SlackSettings, "SLACK_SUGGESTIONS", "hello", "it is not JSON"),
    (SlackSettings, "SLACK_SUGGESTIONS", '["a","b","c","d","e"]', "it has more than 4 entries"),
    (SlackSettings, "SLACK_SUGGESTIONS", '"hello"', "it is not a list: write it as ["),
    (SlackSettings, "SLACK_SUGGESTIONS", '["a", 1]', "in entry 2: it is not text"),
    (SlackSettings, "SLACK_CHANNELS", '{"C1": 1}', "in C1: it is not an object"),
    (SlackSettings, "SLACK_ALLOW_USERS", "@ada", "an entry is not the id of a person"),
    (SlackSettings, "SLACK_ALLOW_USERS", '["U1"]', "an entry is not the id of a person"),
    (SlackSettings, "SLACK_ALLOW_USERS", "U1;U2", "an entry is not the id of a person"),
    (SlackSettings, "SLACK_DENY_USERS", "u0123", "an entry is not the id of a person"),
    (SlackSettings, "SLACK_ALLOW_CHANNELS", "#general", "an entry is not the id of a channel"),
    (SlackSettings, "SLACK_DENY_CHANNELS", "U123", "an entry is not the id of a channel"),
    (SlackSettings, "SLACK_ALLOW_USERS", ",", "it names nobody"),
    (SlackSettings, "SLACK_ALLOW_USERS", "", "it is empty: add an entry, or remove"),
    (SlackSettings, "SLACK_ALLOW_CHANNELS", "  ", "it is empty: add an entry, or remove"),
    (DiscordSettings, "DISCORD_TOKEN", f"{SECRET}\u00e9", "it has a character that no key"),
    (DiscordSettings, "DISCORD_API_URL", "discord.com", "does not begin with https://"),
    (DiscordSettings, "DISCORD_GATEWAY_URL", "https://h", "does not begin with wss:// or ws://"),
    (DiscordSettings, "DISCORD_ANSWER_IN", "dm", "set it to one of thread, reply, place"),
    (DiscordSettings, "DISCORD_DIRECT_MESSAGES", "some", "set it to one of everyone, allowed"),
    (DiscordSettings, "DISCORD_MESSAGE_CONTENT", "2", "neither true nor false"),
    (DiscordSettings, "DISCORD_ALLOW_USERS", "ada", "an entry is not an id: ids are numbers"),
    (DiscordSettings, "DISCORD_ALLOW_USERS", "<@1>", "an entry is not an id"),
    (DiscordSettings, "DISCORD_ALLOW_USERS", "1" * 30, "an entry is not an id"),
    (DiscordSettings, "DISCORD_ALLOW_USERS", "", "it is empty: add an entry, or remove"),
    (DiscordSettings, "DISCORD_DENY_ROLES", "-1", "an entry is not an id"),
    (DiscordSettings, "DISCORD_CHANNELS", "{", "it is not JSON"),
    (DiscordSettings, "DISCORD_CHANNELS", '{"x": {}}', "in the name x: it is not a whole number"),
    (DiscordSettings, "DISCORD_CHANNELS", '{"1": {"voice": "x"}}', "in 1.voice: this name is not"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=[f"{n}-{wrong[1]}" for n, wrong in enumerate(WRONG)])
def test_a_wrong_setting_in_the_environment_is_reported(
    wrong: tuple[type[BaseSettings], str, str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is one line, without any part of the value, which may be a secret."""
    kind, name, value, words = wrong
    monkeypatch.setenv(name, value)
    (line,) = lines_of(kind, capsys)
    assert line.startswith(f"{name}: ")
    assert words in line
    assert line.endswith("(set in the environment)")
    assert SECRET not in line


def test_a_wrong_setting_in_env_is_reported_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("# one\n\nTHREADWAX_MODEL=m\nexport THREADWAX_HTTP_PORT=x\n")
    (line,) = lines_of(Settings, capsys)
    assert line.endswith(f"({tmp_path}/.env, line 4)")


def test_all_wrong_settings_are_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THREADWAX_HTTP_PORT", "x")
    monkeypatch.setenv("OPENAI_BASE_URL", "x")
    assert len(lines_of(Settings, capsys)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"THREADWAX_MODEL: x\n", "line 1: this is not a setting: write NAME=value"),
        (b"A=1\n\nnonsense words here\n", "line 3: this is not a setting"),
        (b"A=1\nTHREADWAX_MODEL='open\nB=2\n", "line 2: this is not a setting"),
        (b"THREADWAX_MODEL\n", "line 1: THREADWAX_MODEL has no value"),
        (b"THREADWAX_MODLE=x\n", "THREADWAX_MODLE is not a setting of threadwax: did you mean T"),
        (b"A=1\nSLACK_BOT_TOKN=x\n", "line 2: SLACK_BOT_TOKN is not a setting of threadwax: did"),
        (b"NATS_PASSWORD=x\n", "NATS_PASSWORD is not a setting of threadwax: did you mean NATS"),
        ("THREADWAX_MODEL=caf\u00e9\n".encode("latin-1"), "is not UTF-8 text"),
        ("THREADWAX_MODEL=x\n".encode("utf-16"), "is not UTF-8 text"),
        (b"A=1\n" + "THREADWAX_MODEL=x\n".encode("utf-16-le"), "is not UTF-8 text"),
        (b"[threadwax]\nTHREADWAX_MODEL=x\n", "line 1: this is not a setting: write NAME=value"),
        ("\u200bTHREADWAX_MODEL=x\n".encode(), "line 1: this is not a setting"),
        (b"DISCORD-TOKEN=x\n", "DISCORD-TOKEN is not a setting of threadwax: did you mean"),
        (b"THREADWAX.MODEL=x\n", "THREADWAX.MODEL is not a setting of threadwax: did you mean"),
    ],
)  # fmt: skip
def test_a_malformed_env_file_is_reported_in_one_line(
    tmp_path: Path, text: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line has the name of the file, and a line number if there is one."""
    (tmp_path / ".env").write_bytes(text)
    (line,) = lines_of(Settings, capsys)
    assert line.startswith(f"{tmp_path}/.env")
    assert words in line


def test_an_env_file_that_cannot_be_read_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    (line,) = lines_of(Settings, capsys)
    assert line.startswith(f"{tmp_path}/.env cannot be read: Is a directory. Make it a readable")


def test_a_misspelled_variable_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKN", SECRET)
    monkeypatch.setenv("OPENAI_ORG_ID", "org")
    (line,) = lines_of(Settings, capsys)
    assert "SLACK_BOT_TOKN in the environment is not a setting of threadwax" in line
    assert "did you mean SLACK_BOT_TOKEN?" in line
    assert SECRET not in line


def test_a_setting_without_effect_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no warning if the probably intended setting has a value as well."""
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "x")
    (line,) = reading.warnings()
    assert "has no effect: did you mean DISCORD_TOKEN?" in line
    monkeypatch.setenv("DISCORD_TOKEN", "x")
    assert reading.warnings() == []


@pytest.mark.parametrize("name", ["SLACK_ALLOW_BOTS", "SLACK_ALLOW_GUESTS", "SLACK_ALLOW_EXTERNAL"])
def test_an_empty_switch_is_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an allow list must not be empty."""
    monkeypatch.setenv(name, "")
    settings = reading.read(SlackSettings)
    assert not any((settings.allow_bots, settings.allow_guests, settings.allow_external))


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:11434/v1/", " http://localhost/v1 ", "HTTPS://api.example.com/v1",
        "http://[::1]:1/v1", "http://[fe80::1%eth0]:1/v1", "http://my_host.internal:1/v1",
        "http://b\u00fccher.example/v1", "http://example.com./v1", "http://u:p@h:1/v1",
        "http://h/models/v1",
    ],
)  # fmt: skip
def test_a_valid_address_is_accepted(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    assert reading.read(Settings).openai_base_url == address.strip()


def test_an_env_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Windows editors write a byte order mark. Case and order of the settings do not matter."""
    (tmp_path / ".env").write_bytes(
        "\ufeffthreadwax_model=one\nPOSTGRES_PASSWORD=x\nTHREADWAX_LOG_LEVEL=INFO\r\n".encode()
    )
    settings = reading.read(Settings)
    assert (settings.model, settings.log_level) == ("one", "info")


# --- access lists -----------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", " ", ", ", "\n"])
def test_lists_are_separated_by_commas_or_blanks(
    separator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_DENY_USERS", f"U1{separator}W2")
    monkeypatch.setenv("DISCORD_DENY_USERS", f"1{separator}2")
    rules = Access.of(SlackSettings())
    assert [rules.without_profile("C1", user, direct=False) for user in ("U1", "W2", "U3")] == [
        NOT_YOU, NOT_YOU, None,
    ]  # fmt: skip
    assert DiscordSettings().deny_users == (1, 2)


@pytest.mark.parametrize("name", ["SLACK_ALLOW_USERS", "slack_allow_users", "Discord_Allow_Roles"])
@pytest.mark.parametrize("value", ["", "  ", ","])
def test_an_empty_allow_list_stops_the_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would admit everybody. The case of the name does not matter."""
    monkeypatch.setenv(name, value)
    kind = SlackSettings if name.lower().startswith("slack") else DiscordSettings
    assert any(name.upper() in line.upper() for line in lines_of(kind, capsys))


DIRECT = Asker(user=7, guild=None, channels=[70])


@pytest.mark.parametrize(
    ("given", "direct"),
    [
        ({}, None),
        ({"DISCORD_ALLOW_USERS": "1"}, "direct"),
        ({"DISCORD_ALLOW_USERS": "1, 7"}, None),
        ({"DISCORD_ALLOW_ROLES": "5"}, "direct"),
        ({"DISCORD_ALLOW_GUILDS": "5"}, "direct"),
        ({"DISCORD_ALLOW_CHANNELS": "5"}, "direct"),
        ({"DISCORD_ALLOW_GUILDS": "5", "DISCORD_ALLOW_USERS": "7"}, None),
        ({"DISCORD_ALLOW_USERS": "1", "DISCORD_DIRECT_MESSAGES": "everyone"}, "direct"),
        ({"DISCORD_ALLOW_GUILDS": "5", "DISCORD_DIRECT_MESSAGES": "everyone"}, None),
        ({"DISCORD_ALLOW_USERS": "7", "DISCORD_DIRECT_MESSAGES": "nobody"}, "direct"),
        ({"DISCORD_DENY_GUILDS": "5"}, None),
    ],
)
def test_an_allow_list_closes_direct_messages(
    given: dict[str, str], direct: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Discord, anybody who shares a server with the bot can send it direct messages."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert refusal(DiscordSettings(), DIRECT) == direct


@pytest.mark.parametrize(
    ("bot", "app", "words"),
    [
        ("xapp-1", "xoxb-1", "SLACK_BOT_TOKEN holds the app-level token, and"),
        ("xoxb-1", "xoxb-1", "SLACK_APP_TOKEN holds a bot token"),
        ("xoxp-1", "xapp-1", "SLACK_BOT_TOKEN holds a user token"),
        ("xoxb-1", "xapp-1", ""),
        ("xoxe.xoxb-1", "xapp-1", ""),
    ],
)
def test_swapped_tokens_are_noticed(bot: str, app: str, words: str) -> None:
    settings = SlackSettings(SLACK_BOT_TOKEN=bot, SLACK_APP_TOKEN=app)
    found = "; ".join(misplaced(settings))
    assert found.startswith(words)
    assert bool(found) == bool(words)
