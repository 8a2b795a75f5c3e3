"""A growing answer in Slack: a native stream, or a message that is edited.

It becomes the first part of the answer, and must never stay unfinished: `finish` completes it, even
if an earlier process began it. It never shows more of a text than fits into one part.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from slack_sdk.errors import SlackApiError

from bots.parts import first_part_of
from bots.platform import Part
from bots.slack.answer_blocks import PART_CHARS, SHAPE, buttons_of, message_of, preview_of
from bots.slack.errors import (
    CALL_ERRORS,
    NO_STREAM,
    NOT_THERE,
    code_of,
    is_refusal,
    lacks_method,
    wait_of,
)
from bots.slack.markup import defanged, escaped, escaped_within, hosts
from bots.slack.metadata import metadata_of
from bots.slack.origin import Origin

UPDATE_EVERY_S: Final = 1.2
"""`chat.update` is in Slack's tier 3: 50 calls per minute."""

APPEND_EVERY_S: Final = 0.6
"""`chat.appendStream` is in tier 4: 100 calls per minute."""

NO_NATIVE: Final = frozenset(
    {"unknown_method", "missing_recipient_team_id", "missing_recipient_user_id", "not_allowed",
     "feature_not_enabled", "method_not_supported_for_channel_type", "invalid_arguments",
     "channel_type_not_supported", "missing_scope"}
)  # fmt: skip
"""Native streams do not work here: the answer is shown by edits instead."""


class Preview:
    """What is shown of one answer so far."""

    def __init__(
        self,
        origin: Origin,
        prompt_id: str,
        *,
        native: bool,
        known: frozenset[str],
        now: Callable[[], float],
    ) -> None:
        """`native`: as a stream, in which only links to `known` hosts stay links."""
        self._client = origin.workspace.client
        self._origin = origin
        self._channel = origin.channel
        self._prompt_id = prompt_id
        self._known = known
        self._now = now
        self._next = 0.0
        self.native = native
        self.no_native = False
        """Slack has refused a native stream in this kind of conversation."""
        self.ts = ""
        self.began_s: float | None = None
        """When its message was posted, by our own clock; None if an earlier process posted it."""
        self._has_text = False
        self.uncertain = False
        """A call was made whose outcome is unknown: its message may be there."""
        self.refused = False
        """Slack refuses it: nothing more is shown until the answer is posted."""
        self._streamed: str | None = None
        """The text of the stream, as Slack counts it; None if unknown."""

    @classmethod
    def found(
        cls, origin: Origin, prompt_id: str, ts: str, *, native: bool, now: Callable[[], float]
    ) -> "Preview":
        """The unfinished preview of an earlier process, in the message `ts`."""
        preview = cls(origin, prompt_id, native=native, known=frozenset(), now=now)
        preview.ts = ts
        return preview

    async def show(self, text: str) -> None:
        """Shows more of the answer, unless Slack's rate limit does not allow that yet.

        Raises:
            slack_sdk and aiohttp errors: as the client does.
        """
        if self._now() < self._next or self.uncertain or self.refused:
            return
        self._has_text = True
        await self._show(text)

    async def show_status(self, status: str) -> None:
        """Shows why there is no text yet, unless there is some. Raises as `show` does.

        This answer is then shown by edits, because nothing can be removed from a stream.
        """
        if not self._has_text and not self.uncertain and not self.refused:
            self.native = False
            await self._show(f"_{status}_")

    async def _show(self, text: str) -> None:
        streamed = self._streamed
        try:
            if self.native:
                await self._stream(text)
            else:
                await self._edit(text)
        except CALL_ERRORS as error:
            code, wait_s = code_of(error), wait_of(error)
            if not code and wait_s is None and not lacks_method(error):
                raise  # `uncertain` and `_streamed` stay as the call set them
            # Slack refused the call, so nothing happened.
            self.uncertain, self._streamed = False, streamed
            if wait_s is not None:
                self._next = self._now() + wait_s
                return
            if self.native and not self.ts and (code in NO_NATIVE or lacks_method(error)):
                self.native, self.no_native = False, True
            elif self.native and code in {*NO_STREAM, "msg_too_long"}:
                self.native = False  # the stream has expired, or its reader stopped it
                self._next = self._now() + UPDATE_EVERY_S
            else:
                self.refused = is_refusal(error)
                raise

    async def _edit(self, text: str) -> None:
        shown = await first_part_of(SHAPE, text, room=PART_CHARS)
        if not shown:
            return
        message = preview_of(self._prompt_id, shown, self._origin.user)
        self._next = self._now() + UPDATE_EVERY_S
        if self.ts:
            await self._client.chat_update(channel=self._channel, ts=self.ts, **message)
            return
        self.uncertain = True
        response = await self._client.chat_postMessage(
            channel=self._channel,
            thread_ts=self._origin.thread or None,
            unfurl_links=False,
            unfurl_media=False,
            **message,
        )
        self._posted(response)

    async def _stream(self, text: str) -> None:
        if self.ts and self._streamed is None:
            return  # the stream may have the last piece or not: the end edits the message
        beginning = defanged(text[:PART_CHARS], self._known, growing=True)
        whole = escaped_within(beginning, PART_CHARS)
        sent = self._streamed or ""
        # The model may have started over after a failure. Nothing can be removed from a stream, so
        # the text then waits for the end, when the message is edited.
        if not whole.startswith(sent) or len(whole) == len(sent) or not whole.strip():
            return
        self._next = self._now() + APPEND_EVERY_S
        if self.ts:
            self._streamed = None
            await self._client.chat_appendStream(
                channel=self._channel, ts=self.ts, markdown_text=whole[len(sent) :]
            )
            self._streamed = whole
            return
        self.uncertain = True
        response = await self._client.chat_startStream(
            channel=self._channel,
            thread_ts=self._origin.thread,
            markdown_text=whole,
            recipient_team_id=self._origin.workspace.id,
            recipient_user_id=self._origin.user,
        )
        self._streamed = whole
        self._posted(response)

    def _posted(self, response: Any) -> None:
        self.ts = str(response["ts"])
        self.began_s = self._now()
        # If it was addressed to a user, only the response has the channel's id.
        self._channel = str(response.get("channel") or self._channel)
        self.uncertain = False

    def shown_for_s(self, wall_s: float) -> float:
        """How long its message has been there; `wall_s` is Unix time, as in a ts."""
        if not self.ts:
            return 0.0
        if self.began_s is None:
            return wall_s - float(self.ts)
        return self._now() - self.began_s

    async def finish(self, part: Part) -> str | None:
        """Turns it into the answer's first part; returns the ts, or None if `part` must be posted.

        A repeat is harmless. Raises as the client does.
        """
        if not self.ts:
            return None
        if self.native and await self._end_stream(part):
            return self.ts
        try:
            await self._client.chat_update(channel=self._channel, ts=self.ts, **message_of(part))
        except SlackApiError as error:
            if not is_refusal(error):
                raise
            # Half an answer must not stay next to the whole one.
            await self.withdraw()
            return None
        return self.ts

    async def _end_stream(self, part: Part) -> bool:
        """Ends the stream with the missing text; False if the message has to be edited instead."""
        # If another process stored the question, only now its links are known here: an edit then
        # shows them.
        known = self._known | hosts(part.reply.prompt_text)
        whole = escaped(defanged(part.text, known))
        fits = self._streamed is not None and whole.startswith(self._streamed)
        # Final only with the complete text: after a crash before the edit, half an answer is left.
        ending: dict[str, Any] = {
            "metadata": metadata_of(part, final=fits),
            "session_status": "active",
        }
        if fits and self._streamed is not None:
            ending["markdown_text"] = whole[len(self._streamed) :] or None
            ending["blocks"] = buttons_of(part) or None
        try:
            await self._client.chat_stopStream(channel=self._channel, ts=self.ts, **ending)
        except SlackApiError as error:
            if not is_refusal(error):
                raise
            fits = False
            if code_of(error) not in NO_STREAM:
                # Slack may have refused an argument, and an open stream cannot be edited.
                await self._refusal(self._client.chat_stopStream(channel=self._channel, ts=self.ts))
        self.native = False
        return fits

    async def withdraw(self) -> bool:
        """Deletes its message; False if Slack refuses. Raises as the client does in an outage."""
        if not self.ts:
            return True
        if self.native:
            await self._refusal(self._client.chat_stopStream(channel=self._channel, ts=self.ts))
            self.native = False
        refusal = await self._refusal(self._client.chat_delete(channel=self._channel, ts=self.ts))
        if refusal in {"", NOT_THERE}:
            self.ts = ""
        return not self.ts

    @staticmethod
    async def _refusal(call: Awaitable[object]) -> str:
        """Makes a call; returns Slack's code if it refuses, empty if it succeeds."""
        try:
            await call
        except SlackApiError as error:
            if not is_refusal(error):
                raise
            return code_of(error)
        return ""
