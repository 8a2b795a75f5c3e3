"""Chooses the questions of a rehearsal, once: every later run asks the same ones."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from dataflow.model.endpoint import Endpoint
from ops.rehearse.errors import WrongUsage
from ops.rehearse.options import Options, TargetOptions
from ops.rehearse.results_file import Choice, choice_in, write_choice
from ops.rehearse.streams import newest_answered
from shared.bus import Bus


async def choice_of(
    bus: Bus, options: Options, endpoints: list[Endpoint], left_out: frozenset[str]
) -> Choice:
    """The choice of the folder, or a new one.

    Raises:
        WrongUsage: the folder has the results of another comparison.
    """
    candidate, *judges = endpoints
    prompt = options.prompt
    wanted = Choice(
        began_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=candidate.model,
        address=_address(candidate, options.candidate),
        prompt_sha256="" if prompt is None else hashlib.sha256(prompt.encode()).hexdigest(),
        judge=judges[0].model if judges else "",
        judge_address=_address(judges[0], options.judge) if judges else "",
        last=options.last,
        chosen=(),
    )
    stored = choice_in(options.folder)
    if stored is None:
        chosen = await newest_answered(bus, options.last, left_out)
        if chosen:
            wanted = replace(wanted, chosen=tuple(chosen))
            write_choice(options.folder, wanted)
        return wanted
    if not stored.is_same_comparison(wanted):
        raise WrongUsage(
            f"{options.folder} has the results of another comparison: choose another folder with "
            "--out, or remove that one"
        )
    return stored


def _address(endpoint: Endpoint, options: TargetOptions | None) -> str:
    """The address for the report; a server of our own has another port in every run."""
    is_own = options is not None and options.base_url is None and "127.0.0.1" in endpoint.address
    return "this machine" if is_own else endpoint.address
