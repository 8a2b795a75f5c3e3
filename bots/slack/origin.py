"""Where in Slack something happened and who did it, as one value."""

from dataclasses import dataclass, replace

from bots.slack.ids import event_id, user_of
from bots.slack.workspaces import Workspace
from shared.messages import Address


@dataclass(frozen=True, slots=True)
class Origin:
    """The workspace, channel and thread in which a user did something."""

    workspace: Workspace
    channel: str
    user: str
    thread: str = ""
    """The ts of the thread's first message; empty for the top of the channel."""

    @classmethod
    def of(cls, workspace: Workspace, address: Address) -> "Origin":
        """The origin of a question, from the return address of its answer."""
        channel, user = address.get("channel", ""), address.get("user", "")
        return cls(workspace, channel, user, address.get("thread_ts", ""))

    def with_thread(self, thread: str) -> "Origin":
        """The same, in another thread of the channel."""
        return replace(self, thread=thread)

    @property
    def bus_user(self) -> str:
        """The user on the bus."""
        return user_of(self.workspace.id, self.user)

    def event_id(self, *parts: str) -> str:
        """The id of an event that happened here."""
        return event_id(self.workspace.id, self.channel, *parts)

    def address(self, ts: str = "") -> Address:
        """The return address for an answer to the message `ts`."""
        return {
            "team": self.workspace.id, "channel": self.channel, "thread_ts": self.thread,
            "ts": ts, "user": self.user,
        }  # fmt: skip
