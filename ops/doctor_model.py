"""`threadwax doctor`: checks the endpoints of the model, their keys and the names of the models.

Requests only the endpoints' lists of models, which is free, and never prints a key.
"""

from typing import Final

from dataflow.model.check import FALLBACK, FIRST, SettingNames, check
from dataflow.model.endpoint import Endpoint, endpoint_of, fallback_of
from dataflow.model.endpoint_name import REAL
from ops.finding import CheckContext, Finding
from ops.finetune.served import adapter_fault

MODEL_TIMEOUT_S: Final = 10.0


async def model(context: CheckContext) -> list[Finding]:
    """Checks that each endpoint answers, accepts its key and has its model."""
    settings = context.settings
    try:
        first = endpoint_of(settings, to_ask=False)
    except (OSError, ValueError):  # only the demo model's address is read from a file
        advice = f"start `threadwax up` or `threadwax model`; {REAL}"
        findings = [Finding("fail", "model", "the demo model is not running", advice)]
        if fault := adapter_fault(settings):
            findings = [Finding("fail", "model", fault, "correct THREADWAX_MODEL")]
    else:
        findings = [await _endpoint(first, FIRST)]
        if settings.demo_model and not settings.adapter and findings[0].grade == "ok":
            what = "the demo model answers; it is small and often wrong"
            findings = [Finding("warn", "model", what, REAL)]
    fallback = fallback_of(settings, to_ask=False)
    if fallback is not None:
        findings.append(await _endpoint(fallback, FALLBACK))
    return findings


async def _endpoint(endpoint: Endpoint, setting: SettingNames) -> Finding:
    subject = "model" if setting is FIRST else "fallback"
    found = await check(endpoint, setting, within_s=MODEL_TIMEOUT_S)
    if not found.fault:
        return Finding("ok", subject, f"{endpoint.address} answers and has {endpoint.model}")
    return Finding("fail", subject, found.fault, found.remedy)
