"""What a link shows, from a real database."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from bots.web import events
from shared.database.erasing import erase_person
from shared.database.sharing import Shared, shared, shares
from shared.messages import Ask, Configure, Deleted, Place
from tests.recorded import Streams, opened, record

ADA, EVE = "web:ada", "web:eve"


def place(conversation: str) -> Place:
    return Place(platform="web", channel="web", thread=conversation, audience="direct")


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    opened_here = opened(database_url)
    yield opened_here
    opened_here.dispose()


class Page:
    """What people do on the page, recorded at once."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._streams = Streams()

    def _record(self) -> None:
        record(self._engine, *self._streams.messages)

    def talk(self, number: int, conversation: str = "c1", user: str = ADA) -> None:
        where = place(conversation)
        self._streams.event(Ask, f"q{number}", user, place=where, text=f"question {number}")
        self._streams.reply(f"q{number}", user, place=where, prompt_text=f"question {number}")
        self._record()

    def do(self, kind: type[Any], id_: str, user: str = ADA, **fields: Any) -> None:
        self._streams.event(kind, id_, user, place=place("c1"), **fields)
        self._record()

    def configure(self, event: Configure, *, user: str = ADA) -> None:
        self.do(Configure, event.id, user, settings=event.settings)

    def share(self, token_hash: str, prompt_id: str = "", user: str = ADA) -> None:
        self.configure(events.share(user, "c1", token_hash, prompt_id), user=user)

    def shows(self, token_hash: str) -> list[str] | None:
        """The questions that a link shows."""
        found = self.found(token_hash)
        return None if found is None else [entry["question"] for entry in found.entries]

    def found(self, token_hash: str) -> Shared | None:
        with self._engine.connect() as connection:
            return shared(connection, token_hash)


@pytest.fixture
def page(engine: sa.Engine) -> Page:
    return Page(engine)


LINK = events.hash_of("the token")


def test_a_link_shows_its_conversation_as_it_was(page: Page) -> None:
    page.talk(1)
    page.talk(2, "c2")
    page.talk(3, user=EVE)
    page.share(LINK)
    page.talk(4)
    assert page.shows(LINK) == ["question 1"]


def test_a_link_to_an_answer_shows_nothing_else(page: Page) -> None:
    page.talk(1)
    page.talk(2)
    page.share(LINK, "q2")
    assert page.shows(LINK) == ["question 2"]


def test_a_link_does_not_say_whose_it_is(page: Page) -> None:
    page.talk(1)
    page.do(Configure, "t1", settings={"title.c1": "About wax"})
    page.share(LINK)
    found = page.found(LINK)
    assert found is not None
    assert found.title == "About wax"
    assert "ada" not in str(found)


def test_nobody_revokes_the_link_of_somebody_else(page: Page, engine: sa.Engine) -> None:
    page.talk(1)
    page.share(LINK)
    page.configure(events.revoke(EVE, LINK), user=EVE)
    assert page.shows(LINK) == ["question 1"]
    with engine.connect() as connection:
        assert shares(connection, ADA) == {LINK: "c1"}


def test_a_link_that_its_owner_revoked_shows_nothing_and_is_not_listed(
    page: Page, engine: sa.Engine
) -> None:
    page.talk(1)
    page.share(LINK)
    page.configure(events.revoke(ADA, LINK))
    assert page.shows(LINK) is None
    with engine.connect() as connection:
        assert shares(connection, ADA) == {}


def test_nobody_shares_what_somebody_else_said(page: Page) -> None:
    page.talk(1)
    page.share(LINK, user=EVE)
    page.share(events.hash_of("another"), "q1", user=EVE)
    assert page.shows(LINK) is None
    assert page.shows(events.hash_of("another")) is None


def test_what_is_deleted_or_erased_is_not_shown(page: Page, engine: sa.Engine) -> None:
    page.talk(1)
    page.talk(2)
    page.share(LINK)
    page.do(Deleted, "d1", prompt_id="q1")
    assert page.shows(LINK) == ["question 2"]
    with engine.begin() as connection:
        erase_person(connection, ADA)
    assert page.shows(LINK) is None


@pytest.mark.parametrize("token_hash", ["", "%", "c1", "q1", "' OR 1=1 --", "web-share-"])
def test_a_link_that_nobody_made_shows_nothing(page: Page, token_hash: str) -> None:
    page.talk(1)
    page.share(LINK)
    assert page.shows(token_hash) is None
