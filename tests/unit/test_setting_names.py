"""Which misspelled names in `.env` or in the environment stop a start."""

import pytest

from bots.discord.settings import DiscordSettings
from bots.slack.settings import SlackSettings
from bots.web.settings import WebSettings
from ops.setting_names import unknown_in_environment, unknown_in_file
from shared.settings import Settings
from shared.traces.settings import TraceSettings

KNOWN = frozenset(
    str(field.alias)
    for kind in (Settings, SlackSettings, DiscordSettings, WebSettings, TraceSettings)
    for field in kind.model_fields.values()
)

MISSPELLED = {
    "THREADWAX_MODLE": "THREADWAX_MODEL",
    "THREADWAX_HOM": "THREADWAX_HOME",
    "THREADWAX_LOGLEVEL": "THREADWAX_LOG_LEVEL",
    "THREADWAX_SYSTEMPROMPT": "THREADWAX_SYSTEM_PROMPT",
    "THREADWX_MODEL": "THREADWAX_MODEL",
    "THREADWAX_WEB_PROT": "THREADWAX_WEB_PORT",
    "THREADWAX_WEB_OIDCURL": "THREADWAX_WEB_OIDC_URL",
    "SLACK_BOT_TOKN": "SLACK_BOT_TOKEN",
    "SLACK_APP_TOKENS": "SLACK_APP_TOKEN",
    "SLACK_ALLOW_USER": "SLACK_ALLOW_USERS",
    "SLACK_ALLOWED_USERS": "SLACK_ALLOW_USERS",
    "DISCORD_TOKN": "DISCORD_TOKEN",
    "DISCORD_ALLOW_USER": "DISCORD_ALLOW_USERS",
    "OPENAI_APIKEY": "OPENAI_API_KEY",
    "OPENAI_API_KEYS": "OPENAI_API_KEY",
    "OPENAI_BASEURL": "OPENAI_BASE_URL",
    "NATS_URLS": "NATS_URL",
    "NATS_URI": "NATS_URL",
}
NAMES_OF_OTHERS = {
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_MODEL": "THREADWAX_MODEL",
    "NATS_PASSWORD": "NATS_URL",
    "DISCORD_BOT_TOKEN": "DISCORD_TOKEN",
    "SLACK_TOKEN": "SLACK_BOT_TOKEN",
}
"""Names that other programs use; people write them when they mean ours."""

OTHERS = (
    "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_LOG", "SLACK_WEBHOOK_URL", "SLACK_USER_TOKEN",
    "NATS_SERVICE_HOST", "NATS_SERVICE_PORT", "NATS_PORT_4222_TCP_ADDR", "NATS_CONTEXT",
    "THREADWAX_SERVICE_HOST", "THREADWAX_SERVICE_PORT_HTTP", "DISPLAY", "SLURM_JOB_ID",
    "OPENAI_ORGANIZATION", "HOME", "PATH", "DISCORD_CLIENT_ID", "DISCORD_WEBHOOK",
)  # fmt: skip


@pytest.mark.parametrize(("name", "meant"), MISSPELLED.items())
def test_a_misspelled_name_stops_the_start_in_env_and_environment(name: str, meant: str) -> None:
    for verdict in (unknown_in_file(name, KNOWN), unknown_in_environment(name.lower(), KNOWN)):
        assert verdict is not None
        assert (verdict.meant, verdict.stops) == (meant, True)


@pytest.mark.parametrize(("name", "meant"), NAMES_OF_OTHERS.items())
def test_another_programs_name_stops_the_start_only_in_our_env_file(name: str, meant: str) -> None:
    in_file, outside = unknown_in_file(name, KNOWN), unknown_in_environment(name, KNOWN)
    assert in_file is not None
    assert outside is not None
    assert (in_file.meant, in_file.stops) == (meant, True)
    assert (outside.meant, outside.stops) == (meant, False)


@pytest.mark.parametrize("name", OTHERS)
def test_variables_of_other_programs_are_ignored(name: str) -> None:
    assert unknown_in_environment(name, KNOWN) is None


def test_unknown_names_with_our_prefixes_stop_the_start_in_our_env_file() -> None:
    verdict = unknown_in_file("THREADWAX_COLOUR_OF_THE_SKY", KNOWN)
    assert verdict is not None
    assert verdict.stops
    for name in ("OPENAI_ORG_ID", "COMPOSE_PROFILES", "POSTGRES_PASSWORD", "TZ"):
        assert unknown_in_file(name, KNOWN) is None


@pytest.mark.parametrize("name", sorted(KNOWN | {"THREADWAX_NATS_ADMIN_PASSWORD"}))
def test_every_setting_name_is_accepted(name: str) -> None:
    assert unknown_in_file(name, KNOWN) is None
    assert unknown_in_environment(name, KNOWN) is None
