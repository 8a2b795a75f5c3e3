"""Which messages are for the bot, and where their answers and notices belong."""

from bots.slack.context import Context
from bots.slack.errors import CALL_ERRORS, code_of
from bots.slack.events import Message
from bots.slack.markup import mentioned, plain
from bots.slack.origin import Origin
from bots.slack.thread_participants import is_follow_up
from bots.slack.workspaces import Workspace
from shared.connection import Unavailable
from shared.messages import Place


async def is_for_bot(context: Context, workspace: Workspace, message: Message) -> bool:
    """Whether a message is for the bot.

    Raises:
        Unavailable: Slack cannot be asked now whether the bot takes part in the thread.
    """
    ours = {workspace.bot_user, workspace.bot_id} - {""}
    if message.by_slack or ours & {message.user, message.bot_id}:
        return False
    mention = message.mention or workspace.bot_user in mentioned(message.text)
    if message.by_bot:
        return mention and context.settings.allow_bots
    if mention or message.direct:
        return True
    follow_up, user = context.settings.follow_up, message.user
    if not message.in_thread or not is_follow_up(message.text, user, {user}, follow_up):
        return False  # not even if this user asked the bot there
    try:
        askers = await context.directory.askers(origin_of(workspace, message))
    except CALL_ERRORS as error:
        if code_of(error) in {"thread_not_found", "missing_scope", "channel_not_found"}:
            return False
        raise Unavailable("Slack cannot be asked now who is in the thread") from error
    return is_follow_up(message.text, user, askers, follow_up)


def origin_of(workspace: Workspace, message: Message) -> Origin:
    """Where a message was written, and by whom; the thread is the one in which it is answered."""
    return Origin(workspace, message.channel, message.user, message.root)


def notice_origin(origin: Origin, message: Message) -> Origin:
    """Where a notice about a message is seen: a message at the top may have no thread yet."""
    return origin.with_thread(message.thread_ts)


def is_empty(workspace: Workspace, message: Message) -> bool:
    """Whether a message for the bot asks nothing."""
    words = plain(message.text, {}, without=workspace.bot_user)
    return not words and not message.files and not message.enclosed


async def place_of_message(context: Context, origin: Origin, message: Message) -> Place:
    """Where a message was written, and who reads it there. Raises as `Context.place` does."""
    # The bot only gets direct messages of its own conversations.
    is_direct = message.channel_type == "im"
    return await context.place(origin, direct=is_direct, external=message.external)
