"""What models cost, and what an answer cost.

Pure. It must never guess: the cost of a model that is not in the table is unknown.
"""

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from shared.setting_kinds import from_json, text_of_file

if TYPE_CHECKING:  # every process reads its settings, and not all of them need the messages
    from shared.replies import Usage

PER_TOKENS: Final = 1_000_000
"""Prices are in dollars per this many tokens, so a price is also microdollars per token."""

ANY_OTHER: Final = "*"
"""The name that gives the price of every model without one of its own."""

_DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")
"""Providers add the date of a model's version to its name; versions have the same price."""


class Price(BaseModel):
    """Dollars per million tokens. Without a price for cached tokens, they cost as much as others.

    `cache_write` is what it costs to put input into the cache. No endpoint reports how many tokens
    that was, so it is in no cost that we compute: the true cost of input can be higher by up to the
    quotient of the two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Decimal = Field(ge=0, allow_inf_nan=False)
    output: Decimal = Field(ge=0, allow_inf_nan=False)
    cached_input: Decimal | None = Field(default=None, ge=0, allow_inf_nan=False)
    cache_write: Decimal | None = Field(default=None, ge=0, allow_inf_nan=False)


def _price(input_: str, cached: str, output: str, cache_write: str | None = None) -> Price:
    return Price(
        input=Decimal(input_),
        cached_input=Decimal(cached),
        output=Decimal(output),
        cache_write=None if cache_write is None else Decimal(cache_write),
    )


# Prices of 26 November 2026, for short contexts: longer ones than 272,000 tokens cost more.
# https://developers.openai.com/api/docs/pricing, https://docs.claude.com/en/docs/about-claude/pricing
PRICES: Final[Mapping[str, Price]] = {
    "gpt-6-luna": _price("0.10", "0.01", "0.50", "0.125"),
    "gpt-6.1-terra": _price("1.00", "0.05", "5.00", "1.25"),
    "gpt-6.1-sol": _price("2.00", "0.10", "10.00"),
    "gpt-6-astra": _price("10.00", "1.00", "50.00"),
    "gpt-5.6-luna": _price("0.20", "0.02", "1.20", "0.25"),
    "gpt-5.6-terra": _price("2.00", "0.20", "12.00", "2.50"),
    "gpt-5.5": _price("5.00", "0.50", "30.00"),
    "gpt-5.4": _price("2.50", "0.25", "15.00"),
    "gpt-5.4-mini": _price("0.75", "0.075", "4.50"),
    "gpt-5.4-nano": _price("0.20", "0.02", "1.25"),
    "gpt-5-mini": _price("0.25", "0.025", "2.00"),
    "gpt-4.1": _price("2.00", "0.50", "8.00"),
    "claude-opus-5": _price("5.00", "0.50", "25.00", "6.25"),
    "claude-sonnet-5": _price("2.00", "0.20", "10.00", "2.50"),
    "claude-haiku-4-5": _price("1.00", "0.10", "5.00", "1.25"),
    "demo": _price("0", "0", "0"),  # it runs on this machine
}

ON_THIS_MACHINE: Final = ("demo:", "local:")
"""How the names of the embedded model begin, with and without an adapter."""


Prices = Annotated[
    dict[str, Price], NoDecode, BeforeValidator(from_json), BeforeValidator(text_of_file)
]
"""A setting that adds prices, or replaces those of the table."""


def price_of(model: str, overrides: Mapping[str, Price]) -> Price | None:
    """The price of a model by its name, with or without the date of its version; None: unknown.

    A price of `overrides` comes first, then the table, then the `*` of `overrides`.
    """
    undated = _DATE.sub("", model)
    for prices in (overrides, PRICES):
        for name in (model, undated):
            if name in prices:
                return prices[name]
    if model.startswith(ON_THIS_MACHINE):
        return PRICES["demo"]
    return overrides.get(ANY_OTHER) if model else None


def cost_microdollars(
    model: str, usage: "Usage | None", overrides: Mapping[str, Price]
) -> int | None:
    """What an answer cost, in millionths of a dollar, rounded; None if that is not known.

    Reasoning tokens are a part of the completion tokens, and cached ones of the prompt tokens.
    """
    price = price_of(model, overrides)
    if usage is None or price is None:
        return None
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
    cached_price = price.input if price.cached_input is None else price.cached_input
    cost = (
        (usage.prompt_tokens - cached) * price.input
        + cached * cached_price
        + usage.completion_tokens * price.output
    )
    return int(cost.to_integral_value(ROUND_HALF_UP))
