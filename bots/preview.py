"""Shows answers while they grow: always the newest text, with one call to the platform at a time.

Best effort: whatever a platform does here, the answer itself comes, and no preview is shown after
it.
"""

import asyncio
import contextlib
from typing import Final

from bots.claims import Claims
from bots.platform import ChatPlatform
from shared.log import logger
from shared.receipts import Claim
from shared.recent import RecentMap, RecentSet
from shared.replies import Partial

PREVIEW_ENDS_WITHIN_S: Final = 10.0
"""A call that shows a partial is cancelled after this: the answer matters more."""

PREVIEWS_KEPT: Final = 1024
"""Growing answers at a time; some of their replies may go to another process of ours."""

FINISHED_KEPT: Final = 2048
"""Replies that were shown, so that a late partial does not open a preview again.

The claim of the first part would stop that, too.
"""


class Preview:
    """One growing answer."""

    def __init__(self, platform: ChatPlatform, claims: Claims, *, after_s: float = 0.0) -> None:
        """Shows nothing for `after_s` seconds: the answer may be complete by then."""
        self._platform = platform
        self._claims = claims
        self._after_s = after_s
        self._newest: Partial | None = None
        self._shown = (0, 0)
        self._ended = False
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.owned = False
        """Whether this process has claimed the first part for the preview."""
        self.begun = False
        """Whether more than an early status was let through."""

    def show_partial(self, partial: Partial) -> None:
        """Shows a partial, unless a newer one came before."""
        version = (partial.attempt, partial.sequence)
        if version <= self._shown or self._ended:
            return
        self._shown = version
        self._newest = partial
        if self._task is None:
            self._task = asyncio.create_task(self._show())

    async def end(self) -> None:
        """Returns once no partial can be shown any more."""
        self._ended = True
        self._ending.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PREVIEW_ENDS_WITHIN_S)
        self.cancel()

    def cancel(self) -> None:
        """Cancels the call to the platform that is in progress."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    async def _show(self) -> None:
        try:
            if self._after_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._after_s):
                        await self._ending.wait()
                self._after_s = 0.0
            while self._newest is not None and not self._ended:
                partial, self._newest = self._newest, None
                key = f"{partial.prompt_id}.0"
                if not self.owned:
                    # A preview becomes the first part, so it needs that part's claim: after a crash
                    # the next process looks for it and completes it.
                    if await self._claims.claim(key) is not Claim.NEW:
                        self._ended = True  # another process may show one already
                        return
                    self.owned = True
                if not await self._claims.is_mine(key):
                    self._ended = True  # this process was frozen, and another one posts the answer
                    return
                await self._platform.show_partial(partial)
        except Exception:  # noqa: BLE001  (a defect of a platform must not stop the answer)
            self._ended = True
            logger().exception("partial not shown")
        finally:
            self._task = None


class Previews:
    """All growing answers of one relay, by prompt id."""

    def __init__(self, platform: ChatPlatform, claims: Claims, *, after_s: float) -> None:
        """An answer that is complete within `after_s` seconds gets no preview."""
        self._platform = platform
        self._claims = claims
        self._after_s = after_s
        self._open: RecentMap[str, Preview] = RecentMap(PREVIEWS_KEPT, dropped=Preview.cancel)
        self._finished: RecentSet[str] = RecentSet(FINISHED_KEPT)

    def show_partial(self, partial: Partial, *, may_open: bool) -> None:
        """Shows a partial in the preview of its answer; opens one if `may_open`."""
        preview = self._open.get(partial.prompt_id)
        if not may_open and (preview is None or not preview.begun):
            return
        if preview is None:
            if partial.prompt_id in self._finished:
                return
            preview = self._open[partial.prompt_id] = Preview(
                self._platform, self._claims, after_s=self._after_s
            )
        preview.begun = preview.begun or not partial.early
        preview.show_partial(partial)

    async def finish(self, prompt_id: str) -> bool:
        """Ends the preview of an answer; returns whether the first part was claimed for it."""
        self._finished.add(prompt_id)
        preview = self._open.pop(prompt_id, None)
        if preview is None:
            return False
        await preview.end()
        return preview.owned

    def cancel(self) -> None:
        """Cancels all calls to the platform that are in progress."""
        for preview in self._open.values():
            preview.cancel()
