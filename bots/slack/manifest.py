"""What the Slack app asks for: scopes, events and slash commands, as in `manifest.json`."""

from typing import Final

SCOPES: Final = (
    "app_mentions:read", "assistant:write", "channels:history", "channels:read", "chat:write",
    "commands", "files:read", "files:write", "groups:history", "groups:read", "im:history",
    "im:read", "im:write", "mpim:history", "mpim:read", "reactions:read", "users:read",
)  # fmt: skip
"""The scopes of the bot token."""

EVENTS: Final = (
    "agent_session_stopped", "app_home_opened", "app_mention", "app_uninstalled",
    "message.channels", "message.groups", "message.im", "message.mpim", "reaction_added",
    "reaction_removed", "tokens_revoked",
)  # fmt: skip
"""The events that the app subscribes to."""

COMMANDS: Final = ("/ask", "/reset", "/privacy", "/export", "/forget", "/help")
