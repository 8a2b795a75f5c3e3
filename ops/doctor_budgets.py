"""`threadwax doctor`: checks that the budgets can work: known prices, and room for an answer.

Pure, but for reading the settings.
"""

from dataflow.budget_settings import rules_of
from dataflow.model.endpoint import window_of
from ops.finding import CheckContext, Finding


async def budgets(context: CheckContext) -> list[Finding]:
    """Checks the limits of `THREADWAX_BUDGETS`, if there are any."""
    settings = context.settings
    rules = rules_of(settings, window_of(settings))
    if rules is None:
        return []
    warnings = []
    for complaint in rules.complaints():
        what, _, advice = complaint.rpartition(": ")
        warnings.append(Finding("warn", "budgets", what, advice))
    set_up = settings.budgets
    counts = (
        f"{len(set_up.users)} users, {len(set_up.roles)} roles and {len(set_up.places)} places "
        "have limits of their own"
    )
    return warnings or [Finding("ok", "budgets", counts)]
