"""Tells operators about budgets: in the log and as metrics."""

from collections.abc import Iterable

from dataflow.budget_wording import amount, limit_name
from dataflow.user_budget import Notice
from shared import metrics
from shared.log import logger


def report(notices: Iterable[Notice], *, user: str = "", place: str = "") -> None:
    """Logs and counts what happened to the budget of a person or a place."""
    for notice in notices:
        limit = notice.limit
        whose = {"user": user} if user else {"place": place}
        shown = {
            "limit": limit_name(limit),
            "used": amount(notice.used, limit.unit),
            "of": amount(limit.most, limit.unit),
        }
        if notice.refused:
            metrics.budget_refused.labels(notice.scope, limit_name(limit)).inc()
            logger().info("refused by a budget", scope=notice.scope, **whose, **shown)
        else:
            metrics.budget_nearly_used.labels(notice.scope, limit_name(limit)).inc()
            logger().warning("a budget is nearly used", scope=notice.scope, **whose, **shown)
