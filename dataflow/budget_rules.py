"""Which limits a question has, what it can cost at most, and what it has cost.

Pure.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from dataflow.budget import NOTHING, Amount, Limit, limits_in
from dataflow.budget_wording import amount
from dataflow.tokens import message_tokens
from shared.budgets import Budgets, most_generous
from shared.experiments import Experiment, experiment_for
from shared.messages import Ask, Place
from shared.prices import Price, cost_microdollars, price_of
from shared.replies import Reply, Usage

YOURS: Final = "Your budget"
YOUR_ROLES: Final = "The budget of your role"

_SPACES: Final = {"slack": "workspace", "discord": "server"}


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits of one person or place. `whose` begins the sentence of a refusal."""

    limits: tuple[Limit, ...]
    whose: str
    scope: str
    """user, role or place: a label of metrics."""


@dataclass(frozen=True)
class BudgetRules:
    """The budgets, and what is needed to compute amounts.

    `models` are the configured model and its fallback, if there is one; a question can name another
    model instead of the first. Each of `experiments` that changes the model names the one it asks.
    """

    budgets: Budgets
    models: tuple[str, ...]
    answer_tokens: int
    prices: Mapping[str, Price] = field(default_factory=dict)
    experiments: tuple[Experiment, ...] = ()

    def of_person(self, ask: Ask) -> Allowance:
        """The limits of a person: those of `users`, else of their roles, else of everybody."""
        budgets = self.budgets
        named = budgets.users.get(ask.user)
        if named is not None:
            return Allowance(limits_in(named), YOURS, "user")
        platform = ask.place.platform
        roles = [
            limits
            for role in ask.roles
            if (limits := budgets.roles.get(f"{platform}:{role}")) is not None
        ]
        if roles:
            return Allowance(limits_in(most_generous(roles)), YOUR_ROLES, "role")
        return self._each_user

    def of_place(self, name: str, place: Place) -> Allowance:
        """The limits of an entry of `places`; none if it is no longer there."""
        limits = self.budgets.places.get(name)
        _, _, part = name.partition(":")
        which = "channel" if part == place.channel else _SPACES.get(place.platform, "space")
        whose = f"The budget of this {which}" if part else "The budget of all conversations here"
        return Allowance(limits_in(limits) if limits else (), whose, "place")

    @cached_property
    def _each_user(self) -> Allowance:
        return Allowance(limits_in(self.budgets.each_user), YOURS, "user")

    def largest(self, ask: Ask, prompt_tokens: int) -> Amount:
        """The most that a call can use, if its prompt has this many tokens.

        An experiment's system prompt is counted in addition to the usual one, which it replaces.
        """
        names = (ask.model or self.models[0], *self.models[1:])
        experiment = experiment_for(
            ask.user, self.experiments, persona=ask.persona, model=ask.model
        )
        if experiment is not None:
            if experiment.model:
                # If its endpoint fails, the usual model is asked, but not the fallback.
                names = (experiment.model, self.models[0])
            prompt_tokens += message_tokens(experiment.prompt) if experiment.prompt else 0
        usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=self.answer_tokens)
        costs = [cost_microdollars(name, usage, self.prices) or 0 for name in names]
        return Amount(prompt_tokens + self.answer_tokens, max(costs))

    def used(self, ask: Ask, reply: Reply, ratio: float) -> Amount:
        """What a reply has used: as reported, and as estimated where nobody has reported it.

        `ratio` is counted tokens divided by estimated tokens.
        """
        model = reply.model or self._model_of(reply.experiment) or ask.model or self.models[0]
        used = self.used_by(model, reply.usage)
        for call in reply.background:
            used += self.used_by(call.model, call.usage)
        if (estimate := reply.estimated_usage) is None:
            return used
        usage = Usage(
            prompt_tokens=math.ceil(estimate.prompt_tokens * ratio),
            completion_tokens=math.ceil(estimate.completion_tokens * ratio),
        )
        return used + self.used_by(model, usage)

    def used_by(self, model: str, usage: Usage | None) -> Amount:
        """What a call has used. The cost of a model without a price counts as 0."""
        if usage is None:
            return NOTHING
        cost = cost_microdollars(model, usage, self.prices)
        return Amount(usage.prompt_tokens + usage.completion_tokens, cost or 0)

    def _model_of(self, experiment: str) -> str | None:
        """The model of an experiment; None if it asks the usual one, or there is none such now."""
        return next((one.model for one in self.experiments if one.name == experiment), None)

    @cached_property
    def _all_models(self) -> tuple[str, ...]:
        """The names of all models that the settings know, each once."""
        others = (one.model for one in self.experiments if one.model)
        return tuple(dict.fromkeys((*self.models, *others)))

    def complaints(self) -> Iterator[str]:
        """What keeps the budgets from working as somebody may expect; empty if nothing does."""
        budgets = self.budgets
        if budgets.limit_dollars:
            for model in self._all_models:
                if price_of(model, self.prices) is None:
                    yield (
                        f"the price of {model} is unknown, so limits in dollars do not count its "
                        "answers (limits in tokens do): add it to THREADWAX_PRICES"
                    )
        least = self.largest_answer()
        parts = {"each_user": {"": budgets.each_user}, "users": budgets.users,
                 "roles": budgets.roles, "places": budgets.places}  # fmt: skip
        for part, entries in parts.items():
            for name, limits in entries.items():
                for limit in limits_in(limits):
                    if limit.most <= least.of(limit.unit):
                        yield (
                            f"{'.'.join(filter(None, (part, name)))}: "
                            f"{amount(limit.most, limit.unit)} per {limit.period} is less than one "
                            f"answer can take ({amount(least.of(limit.unit), limit.unit)}), so "
                            "every question is refused: raise it, or lower THREADWAX_ANSWER_TOKENS"
                        )

    def largest_answer(self) -> Amount:
        """The most that an answer alone can use."""
        usage = Usage(completion_tokens=self.answer_tokens)
        costs = [cost_microdollars(name, usage, self.prices) or 0 for name in self._all_models]
        return Amount(self.answer_tokens, max(costs))
