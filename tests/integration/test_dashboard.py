"""The dashboard and "Your usage" as people see them, with figures of a real recorder's service."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

pytest.importorskip("streamlit")

from streamlit.testing.v1 import AppTest

from bots.web import current
from bots.web.files import with_files
from bots.web.platform import Web
from bots.web.server import Server
from bots.web.settings import WebSettings
from bots.web.views.amounts import age, count, milliseconds, money
from dataflow.recorder.figures_service import FiguresService
from dataflow.recorder.history_service import HistoryService
from dataflow.recorder.server_figures import Lag
from shared.bus import Bus
from shared.figures import Used
from shared.messages import Ask, Rate
from shared.own_history import own_turns
from shared.prices import Price
from shared.replies import Timings, Usage
from shared.settings import Settings
from tests.recorded import Streams, opened, record

PRICED = {"priced": Price(input=1000, output=1000)}
WORDS = "words of a person"


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = opened(f"sqlite:///{tmp_path / 'own.sqlite'}")
    yield engine
    engine.dispose()


@pytest.fixture(name="page")
async def _page(bus: Bus, tmp_path: Path) -> AsyncIterator[None]:
    """A page on this process's bus; its server opens a port, but serves nothing."""
    settings = WebSettings(port=0)
    server = Server(settings, tmp_path)
    web = Web(
        settings,
        bus.publish,
        server=server,
        store_files=partial(with_files, bus),
        fetch_turns=partial(own_turns, bus),
    )
    current.set_up(web, bus, links_accounts=False)
    yield
    server._socket.close()


async def serve(bus: Bus, engine: sa.Engine) -> None:
    await HistoryService(bus, engine, PRICED).start()
    settings = Settings(THREADWAX_PRICES=PRICED)
    await FiguresService(bus, engine, settings, lambda: Lag(0.0, {})).start()


def recorded(engine: sa.Engine, now: Streams) -> None:
    """Three answers to Ada and one to Bob, a failure, a rating, and an open question."""
    for number, user in enumerate(("web:ada", "web:ada", "web:ada", "web:bob")):
        now.event(Ask, f"q{number}", user, text=WORDS)
        at = now.now
        now.reply(
            f"q{number}", user, text=WORDS, model="<b>priced</b>" if number == 3 else "priced",
            usage=Usage(prompt_tokens=1000, completion_tokens=500),
            timings=Timings(called_at=at, first_token_at=at),
        )  # fmt: skip
    now.event(Ask, "f", "web:bob", text=WORDS)
    now.reply("f", "web:bob", outcome="failed", text="My model is *away*.")
    now.event(Rate, "r", "web:ada", prompt_id="q0", thumb="up")
    now.event(Ask, "open", "web:bob", text=WORDS)
    record(engine, *now.messages)


# AppTest takes the source of these functions alone.


def drawn_dashboard() -> None:
    from bots.web.views.dashboard import dashboard  # noqa: PLC0415

    dashboard()


def drawn_usage() -> None:
    from bots.web.views.usage import usage  # noqa: PLC0415
    from bots.web.visitor import Visitor  # noqa: PLC0415

    usage(Visitor("web:ada", "ada", is_operator=False, opened=0.0))


async def run(script: object) -> AppTest:
    app = AppTest.from_function(script, default_timeout=60)
    await asyncio.to_thread(app.run)
    assert not app.exception, app.exception
    return app


def text_of(app: AppTest) -> str:
    return "\n".join(str(getattr(one, "proto", one)) for one in app.main)


def numbers(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


@pytest.mark.usefixtures("page")
async def test_the_dashboard_shows_the_numbers_of_the_database(bus: Bus, engine: sa.Engine) -> None:
    recorded(engine, Streams.ending_now())
    await serve(bus, engine)
    app = await run(drawn_dashboard)
    shown = numbers(app)
    assert shown.pop("Whole answer") != "-"
    assert shown == {
        "Messages": "6", "People": "2", "First text": "0 ms", "Answered": "80.0%",
        "Cost, US $": "$4.50+", "Waiting now": "1",
    }  # fmt: skip
    text = text_of(app)
    assert "My model is *away*." in text
    assert "&lt;b&gt;priced&lt;/b&gt;" in text
    assert "<b>priced</b></td>" not in text
    assert WORDS not in text


@pytest.mark.usefixtures("page")
async def test_own_usage_shows_what_this_person_used(bus: Bus, engine: sa.Engine) -> None:
    recorded(engine, Streams.ending_now())
    await serve(bus, engine)
    app = await run(drawn_usage)
    assert numbers(app) == {"Questions": "3", "Tokens": "4,500", "Cost, US dollars": "$4.50"}
    assert "&lt;b&gt;" not in text_of(app)


@pytest.mark.usefixtures("page")
async def test_an_empty_database_is_said_in_words(bus: Bus, engine: sa.Engine) -> None:
    await serve(bus, engine)
    app = await run(drawn_dashboard)
    assert "Nothing was recorded in this time" in app.info[0].value
    assert "You asked nothing" in (await run(drawn_usage)).info[0].value


@pytest.mark.usefixtures("page")
async def test_without_a_recorder_the_pages_say_so() -> None:
    app = await run(drawn_dashboard)
    assert "The recorder does not answer" in app.warning[0].value
    assert "does not answer" in (await run(drawn_usage)).warning[0].value


def listed_pages() -> None:
    import streamlit as st  # noqa: PLC0415

    from bots.web.views import pages  # noqa: PLC0415
    from bots.web.visitor import Visitor  # noqa: PLC0415

    for is_operator in (True, False):
        titles = [page.title for page in pages(Visitor("web:ada", "ada", is_operator, 0.0))]
        st.write(f"{is_operator}: {', '.join(titles)}")


async def test_only_operators_have_a_dashboard() -> None:
    app = await run(listed_pages)
    shown = [one.value for one in app.markdown]
    assert shown == [
        "True: Chat, Your usage, Your data, Dashboard",
        "False: Chat, Your usage, Your data",
    ]


def used(cost: int | None, unknown: int) -> Used:
    return Used(
        key="", questions=1, input_tokens=1, output_tokens=1, cost_microdollars=cost,
        of_unknown_cost=unknown,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (money(used(None, 1)), "not known"),
        (money(used(0, 0)), "$0.00"),
        (money(used(1_234_560, 1)), "$1.23+"),
        (money(used(40, 0)), "< $0.0001"),
        (money(used(1_200, 0)), "$0.0012"),
        (count(9_999), "9,999"),
        (count(12_345), "12.3k"),
        (count(999_400), "999k"),
        (count(999_999), "1.0M"),
        (count(4_500_000), "4.5M"),
        (milliseconds(999.4), "999 ms"),
        (milliseconds(1500), "1.5 s"),
        (milliseconds(150_000), "2 min"),
        (age(59), "59 s"),
        (age(5400), "1 h 30 min"),
        (age(200_000), "2 d 7 h"),
    ],
)
def test_amounts_are_written_as_people_read_them(shown: str, text: str) -> None:
    assert shown == text
