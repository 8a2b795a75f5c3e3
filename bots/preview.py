"""Growing answers on their way to a platform: of each the newest text, one call at a time.

Best effort: whatever a platform does here, the answer itself comes, and nothing is shown after it.
"""

import asyncio
import contextlib
from typing import Final

from bots.platform import ChatPlatform
from shared.log import logger
from shared.messages import Partial
from shared.receipts import Claim, Receipts
from shared.recent import RecentMap, RecentSet

PREVIEW_ENDS_WITHIN_S: Final = 10.0
"""A call that shows a partial is given up after this: the answer is what matters."""

PREVIEWS_KEPT: Final = 1024
"""Growing answers at a time; the reply of one may have gone to another process of ours."""

FINISHED_KEPT: Final = 2048
"""Ids of replies that were shown, so that a partial on its way then does not open them again; the
claim of their first part would stop it, too."""


class Preview:
    """One growing answer: always the newest text, one call to the platform at a time."""

    def __init__(self, platform: ChatPlatform, receipts: Receipts, *, after_s: float = 0.0) -> None:
        """Nothing is shown in the first `after_s` seconds: the answer may be whole by then."""
        self._platform = platform
        self._receipts = receipts
        self._after_s = after_s
        self._newest: Partial | None = None
        self._shown = (0, 0)
        self._ended = False
        self._settling = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.owned = False
        self.begun = False
        """More was let through than an early status."""

    def see(self, partial: Partial) -> None:
        """Shows a partial unless a newer one was seen."""
        version = (partial.attempt, partial.sequence)
        if version <= self._shown or self._ended:
            return
        self._shown = version
        self._newest = partial
        if self._task is None:
            self._task = asyncio.create_task(self._show())

    async def settled(self) -> None:
        """No partial is shown from here on."""
        self._ended = True
        self._settling.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PREVIEW_ENDS_WITHIN_S)
        self.cancel()

    def cancel(self) -> None:
        """Ends a call to the platform that goes on."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    async def _show(self) -> None:
        try:
            if self._after_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._after_s):
                        await self._settling.wait()
                self._after_s = 0.0
            while self._newest is not None and not self._ended:
                partial, self._newest = self._newest, None
                if not self.owned:
                    # A preview becomes the first part, so it is claimed as such: after a crash
                    # the next process looks for it and completes it.
                    if await self._receipts.claim(f"{partial.prompt_id}.0") is not Claim.NEW:
                        self._ended = True  # somebody else's may stand there: one is enough
                        return
                    self.owned = True
                await self._platform.show_partial(partial)
        except Exception:  # noqa: BLE001  (whatever a platform does: the answer itself comes)
            self._ended = True
            logger().exception("partial not shown")
        finally:
            self._task = None


class Previews:
    """Those of one relay, by the id of their question."""

    def __init__(self, platform: ChatPlatform, receipts: Receipts, *, after_s: float) -> None:
        """Of an answer that is whole within `after_s` seconds nothing is shown before it."""
        self._platform = platform
        self._receipts = receipts
        self._after_s = after_s
        self._open: RecentMap[str, Preview] = RecentMap(PREVIEWS_KEPT, dropped=Preview.cancel)
        self._finished: RecentSet[str] = RecentSet(FINISHED_KEPT)

    def see(self, partial: Partial, *, may_open: bool) -> None:
        """Shows a partial of an answer that grows, or of a new one where that `may_open`."""
        preview = self._open.get(partial.prompt_id)
        if not may_open and (preview is None or not preview.begun):
            return
        if preview is None:
            if partial.prompt_id in self._finished:
                return
            preview = self._open[partial.prompt_id] = Preview(
                self._platform, self._receipts, after_s=self._after_s
            )
        preview.begun = preview.begun or not partial.early
        preview.see(partial)

    async def finish(self, prompt_id: str) -> bool:
        """Shows no more partials of an answer; whether its first part was claimed for them."""
        self._finished.add(prompt_id)
        preview = self._open.pop(prompt_id, None)
        if preview is None:
            return False
        await preview.settled()
        return preview.owned

    def cancel(self) -> None:
        """Ends the calls to the platform that go on."""
        for preview in self._open.values():
            preview.cancel()
