"""The Bytewax step around a conversation. It holds no rule: those are in `conversation.py`."""

from collections.abc import Callable, Iterable
from datetime import datetime

from bytewax.operators import StatefulBatchLogic

from dataflow.conversation import Conversation
from dataflow.effects import Effect
from dataflow.prompts_source import NOW, Arrived
from dataflow.request import Window
from shared.messages import Reply

Heard = Arrived | Reply
Step = Callable[[bytes | None], StatefulBatchLogic[Heard, Effect, bytes]]


class ConversationStep(StatefulBatchLogic[Heard, Effect, bytes]):
    """One user's state in the flow."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        # A worker that resumed with unanswered questions is woken once, to ask them again.
        self._wake = NOW if conversation.pending else None

    @classmethod
    def builder(cls, window: Window) -> Step:
        """Makes the step for a user, from a snapshot where there is one."""

        def build(snapshot: bytes | None) -> "ConversationStep":
            if snapshot is None:
                return cls(Conversation(window))
            return cls(Conversation.load(snapshot, window))

        return build

    def on_batch(self, values: list[Heard]) -> tuple[Iterable[Effect], bool]:
        """Events and replies in; effects out."""
        effects: list[Effect] = []
        for value in values:
            if isinstance(value, Arrived):
                effects += self._conversation.on_event(value.event, replayed=value.replayed)
            else:
                effects += self._conversation.on_reply(value)
        return effects, StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Effect], bool]:
        """Once after a restart; a spurious call does nothing, since all is asked already."""
        self._wake = None
        return self._conversation.resume(), StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """In the past while pending questions wait to be asked again."""
        return self._wake

    def snapshot(self) -> bytes:
        """The conversation as JSON: values that nothing can change later."""
        return self._conversation.dump()
