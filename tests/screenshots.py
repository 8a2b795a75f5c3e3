"""Makes the pictures of the web page: `python -m tests.screenshots` writes docs/web-*.png.

All processes are real, and people sign in at a real provider of identities on this machine. The
model is a stand-in with fixed answers, and the dashboard shows an invented month.
"""

import asyncio
import logging
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from PIL import Image

from ops.ports import free_port
from shared.database.engine import writing
from shared.database.tables import metadata
from shared.prices import PRICES
from tests.end_to_end.test_web_sign_in import provider, signed_in
from tests.end_to_end.web_system import WebSystem, own_system
from tests.recorded import opened
from tests.web_browser import NARROW, Tab, browser

DOCS: Final = Path(__file__).parents[1] / "docs"
LIMIT_BYTES: Final = 150_000
COLORS: Final = 256

CHAT: Final = (1280, 1225)
SIGN_IN: Final = (900, 700)
DASHBOARD: Final = (1280, 1580)
"""Sizes of windows; Chromium takes about 140 pixels of their heights."""

SUBJECT: Final = "1001"
"""The account at the provider whose address is ada@example.org."""

MODEL: Final = "gpt-6-luna"
BUDGETS: Final = (
    '{"each_user": {"tokens_per_day": 200000}, "places": {"slack": {"dollars_per_month": 10},'
    ' "web": {"dollars_per_month": 5}}}'
)

COMPARE: Final = "Which broker suits a team of three: NATS JetStream, Kafka or RabbitMQ?"
PUBLISH: Final = "Show me how to publish a message from Python so that it is not lost."
CRASH: Final = "And if my program crashes before the acknowledgement?"

ANSWERS: Final = {
    COMPARE: (
        "All three keep messages on disk. For three people, what differs is the work of "
        "**operating** them:\n\n"
        "| | NATS JetStream | Kafka | RabbitMQ |\n"
        "|---|---|---|---|\n"
        "| To install | one program | a cluster | a server and Erlang |\n"
        "| Good at | requests and streams | very large logs | queues with routing |\n"
        "| Reads old messages | yes | yes | with streams |\n\n"
        "Start with **NATS JetStream** unless you already know one of the others well."
    ),
    PUBLISH: (
        "Wait for the acknowledgement, and give the message an id, so that a second copy is "
        "dropped:\n\n"
        "```python\n"
        "async def publish(js: JetStreamContext, order: Order) -> int:\n"
        '    headers = {"Nats-Msg-Id": order.id}\n'
        '    ack = await js.publish("orders.new", order.json(), headers=headers)\n'
        "    return ack.seq  # stored on disk\n"
        "```\n\n"
        "If `publish` raises `TimeoutError`, call it again with the same id."
    ),
    CRASH: (
        "Then you do not know whether the message was stored, so **send it again** after the "
        "restart. This is safe as long as the id is the same, because the server drops a second "
        "message with an id that it knows.\n\n"
        "So choose an id that survives the crash, for example the number of the order."
    ),
}

EARLIER: Final = (
    "Rewrite this e-mail so that it is shorter",
    "What does 'idempotent' mean?",
    "SQL: customers without an order this year",
    "Five names for a small bakery",
    "Plan three days in Lisbon with a child",
)

PLACES: Final = (
    ("slack", "T1", "support", 34),
    ("slack", "T1", "engineering", 27),
    ("discord", "G1", "help", 18),
    ("web", "", "web", 16),
    ("terminal", "", "terminal", 5),
)
"""Platform, space, channel, and its share of all questions in percent."""

MODELS: Final = {MODEL: 84, "gpt-6.1-terra": 12, "gpt-6.1-sol": 4}
BUSY: Final = "I cannot answer now, because the model is overloaded. Please try again in a minute."
AWAY: Final = "I cannot reach my model. Please try again later."
OVER_BUDGET: Final = (
    "You have used 200,000 of your 200,000 tokens for today. The budget renews at 00:00 UTC."
)

DAYS: Final = 31
PEOPLE: Final = 60

Rows = dict[str, list[dict[str, Any]]]


class Asked(NamedTuple):
    """A question of the invented month. Its place: platform, space, channel, thread."""

    id: str
    user: str
    place: tuple[str, str, str, str]
    said_at: datetime
    text: str


async def record() -> None:
    """Writes all pictures."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, provider(Path(folder)) as configuration:
        home = Path(folder)
        database = f"sqlite:///{home / 'month.sqlite'}"
        fill(database, datetime.now(UTC))
        env = {
            "DATABASE_URL": database,
            "THREADWAX_MODEL": MODEL,
            "THREADWAX_BUDGETS": BUDGETS,
            "THREADWAX_WEB_URL": f"http://localhost:{port}",
            "THREADWAX_WEB_OIDC_URL": configuration,
            "THREADWAX_WEB_OIDC_CLIENT_ID": "threadwax",
            "THREADWAX_WEB_OIDC_CLIENT_SECRET": "a-secret-of-this-recording",
            "THREADWAX_WEB_OPERATORS": "ada@example.org",
        }
        async with own_system(home, web_port=port, **env) as system:
            system.model.models = [{"id": MODEL}]
            system.model.reply = answer
            await pictures(system)


async def pictures(system: WebSystem) -> None:
    """One browser per picture: each has the size and the colours of its own."""
    with browser(size=SIGN_IN) as driver:
        tab = await Tab(driver).open(system.address)
        await tab.reads("Sign in")
        await taken(tab, "sign-in")
    with browser(size=CHAT) as driver:
        tab = await signed_in(driver, system, SUBJECT)
        for number, question in enumerate((COMPARE, PUBLISH), start=1):
            await tab.say(question)
            await tab.answers(number)
        thumb_up = await tab.find("[data-testid=stFeedback] button:first-of-type")
        await asyncio.to_thread(thumb_up.click)
        await tab.reads("Say more")
        await taken(tab, "chat-light")
        conversation = driver.current_url
    with browser(size=NARROW) as driver:
        tab = await signed_in(driver, system, SUBJECT)
        await tab.reads("What shall we talk about?")
        await tab.open(conversation)
        await tab.answers(2)
        await taken(tab, "chat-narrow")
    with browser(size=CHAT, dark=True) as driver:
        tab = await signed_in(driver, system, SUBJECT)
        await tab.reads("What shall we talk about?")
        await tab.open(conversation)
        await tab.answers(2)
        with half_an_answer(system):
            await tab.say(CRASH)
            await tab.reads("as long as the id")
            await taken(tab, "chat-dark")
        await tab.answers(3)
    with browser(size=DASHBOARD) as driver:
        tab = await signed_in(driver, system, SUBJECT)
        await tab.reads("Signed in as")
        await tab.open(f"{system.address}/dashboard?time=30+days")
        await tab.find("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")
        await tab.reads("Budgets", "Dead letters", "refreshed every")
        await taken(tab, "dashboard")


@contextmanager
def half_an_answer(system: WebSystem) -> Iterator[None]:
    """The next answer stops growing in its middle until this ends."""
    may_finish = asyncio.Event()
    system.model.may_finish, system.model.piece_chars = may_finish, 4
    try:
        yield
    finally:
        system.model.may_finish = None
        may_finish.set()


async def taken(tab: Tab, name: str) -> None:
    """Writes a picture once nothing moves any more."""
    file = DOCS / f"web-{name}.png"
    before = b""
    while before != (now := await shot(tab, file)):
        before = now
    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    small.save(file, optimize=True)
    size = file.stat().st_size
    if size > LIMIT_BYTES:
        raise SystemExit(f"{file} has {size:,} bytes")
    print(f"{file.relative_to(DOCS.parent)}: {size:,} bytes")  # noqa: T201


async def shot(tab: Tab, file: Path) -> bytes:
    await tab.screenshot(file)
    await asyncio.sleep(0.5)
    return file.read_bytes()


def answer(request: dict[str, Any]) -> str:
    asked = str(request["messages"][-1]["content"])
    return next(text for question, text in ANSWERS.items() if question in asked)


def fill(database: str, now: datetime) -> None:
    """Writes Ada's earlier conversations and the month of everybody else."""
    rng = random.Random(26)
    rows: Rows = {"questions": [], "answers": [], "ratings": []}
    for number, text in enumerate(EARLIER):
        place = ("web", "", "web", f"earlier{number}")
        said_at = now - timedelta(hours=5 + 21 * number)
        add(rows, rng, Asked(f"a{number}", f"web:{SUBJECT}", place, said_at, text))
    for day in range(DAYS):
        date = (now - timedelta(days=day)).replace(hour=0, minute=0, second=0, microsecond=0)
        usual = 55 if date.weekday() >= 5 else 190
        for number in range(round(usual * rng.uniform(0.8, 1.2) * (1 - day / 90))):
            said_at = date + timedelta(hours=rng.gauss(13, 3.2) % 24)
            if said_at < now - timedelta(minutes=2):
                platform, space, channel, _ = rng.choices(PLACES, [one[3] for one in PLACES])[0]
                user = f"{platform}:{round(abs(rng.gauss(0, PEOPLE / 3)))}"
                place = (platform, space, channel, "")
                asked = Asked(f"q{day}-{number}", user, place, said_at, "an invented question")
                add(rows, rng, asked)
    engine = opened(database)
    with writing(engine) as connection:
        for name, found in rows.items():
            connection.execute(sa.insert(metadata.tables[name]), found)
    engine.dispose()


def add(rows: Rows, rng: random.Random, asked: Asked) -> None:
    """A question with its answer, and perhaps a rating."""
    id_, user, place, said_at, text = asked
    stored_at = said_at + timedelta(milliseconds=rng.lognormvariate(2.2, 0.4))
    called_at = stored_at + timedelta(milliseconds=rng.lognormvariate(2.8, 0.6))
    first_at = called_at + timedelta(milliseconds=rng.lognormvariate(6.2, 0.45))
    answered_at = first_at + timedelta(milliseconds=rng.lognormvariate(8.1, 0.5))
    platform, space, channel, thread = place
    rows["questions"].append({
        "prompt_id": id_, "user_id": user, "platform": platform, "space": space,
        "channel": channel, "thread": thread, "audience": "direct", "alone": False, "kind": "ask",
        "text": text, "said_at": said_at, "stored_at": stored_at,
    })  # fmt: skip
    outcome, said = "answered", "an invented answer"
    if platform != "web":
        outcome, said = rng.choices(
            (("answered", said), ("stopped", said), ("failed", BUSY), ("failed", AWAY),
             ("refused", OVER_BUDGET)),
            (964, 14, 12, 3, 7),
        )[0]  # fmt: skip
    is_called = outcome in {"answered", "stopped"}
    model = rng.choices(list(MODELS), list(MODELS.values()))[0] if is_called else ""
    sent, written = round(rng.lognormvariate(7.3, 0.6)), round(rng.lognormvariate(5.6, 0.6))
    price = PRICES.get(model)
    rows["answers"].append({
        "prompt_id": id_, "user_id": user, "outcome": outcome, "text": said, "prompt_text": text,
        "model": model,
        "prompt_tokens": sent if is_called else None,
        "completion_tokens": written if is_called else None,
        "cost_microdollars": round(sent * price.input + written * price.output) if price else None,
        "said_at": said_at, "called_at": called_at if is_called else None,
        "first_token_at": first_at if is_called else None, "answered_at": answered_at,
        "journaled_at": answered_at,
        "shown_at": answered_at + timedelta(milliseconds=rng.lognormvariate(4.4, 0.7)),
    })  # fmt: skip
    if is_called and rng.random() < 0.12:
        rows["ratings"].append({
            "prompt_id": id_, "user_id": user, "thumb": rng.choices(("up", "down"), (83, 17))[0],
            "rated_at": answered_at + timedelta(seconds=20),
        })  # fmt: skip


if __name__ == "__main__":
    logging.disable()  # otherwise the fake model logs every connection that a process ends
    asyncio.run(record())
