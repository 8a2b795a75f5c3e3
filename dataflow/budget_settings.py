"""The budgets that the settings describe.

Opens no connection and reads no file.
"""

from dataflow.budget_rules import BudgetRules
from dataflow.model.dialects import DEMO_MODEL, OPENAI_DEFAULT_MODEL
from dataflow.tokens import Window
from shared.experiments import Experiment
from shared.settings import Settings


def rules_of(settings: Settings, window: Window) -> BudgetRules | None:
    """The budgets; None if there are none, so that they cost nothing."""
    if not settings.budgets:
        return None
    return BudgetRules(
        settings.budgets,
        models_of(settings),
        window.answer_tokens,
        settings.prices,
        experiments_of(settings),
    )


def models_of(settings: Settings) -> tuple[str, ...]:
    """The names of the model and, if there is one, of the fallback's."""
    first = DEMO_MODEL if settings.demo_model else settings.model or OPENAI_DEFAULT_MODEL
    elsewhere = settings.fallback_api_key or settings.fallback_base_url
    if settings.fallback_model and (elsewhere or not settings.demo_model):
        return first, settings.fallback_model
    return (first, settings.model or OPENAI_DEFAULT_MODEL) if elsewhere else (first,)


def experiments_of(settings: Settings) -> tuple[Experiment, ...]:
    """The experiments; each that has an endpoint of its own names the model that is asked there."""
    usual = settings.model or OPENAI_DEFAULT_MODEL
    return tuple(
        one.model_copy(update={"model": usual}) if one.base_url and not one.model else one
        for one in settings.experiments
    )
