"""What an experiment changes in a model call.

It must never change a call of a place that has its own persona or model for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dataflow.model.client import ModelClient
from dataflow.tokens import Window, message_tokens
from dataflow.truncation import ChatMessage
from shared.experiments import Experiment, experiment_for
from shared.messages import Ask


@dataclass(frozen=True, slots=True)
class Variant:
    """An experiment, and the client that asks its model."""

    experiment: Experiment
    client: ModelClient

    def messages(self, messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
        """The request with the experiment's system prompt, if it has one."""
        prompt = self.experiment.prompt
        if prompt is None:
            return messages
        return ({"role": "system", "content": prompt}, *messages[1:])


class Variants:
    """All experiments of this process. Without any, each question costs one comparison."""

    def __init__(self, variants: Sequence[Variant] = ()) -> None:
        self._by_name = {variant.experiment.name: variant for variant in variants}
        self._experiments = tuple(variant.experiment for variant in variants)

    def of(self, ask: Ask) -> Variant | None:
        """The experiment that applies to a question; None: the usual model is asked."""
        if not self._experiments:
            return None
        found = experiment_for(ask.user, self._experiments, persona=ask.persona, model=ask.model)
        return None if found is None else self._by_name[found.name]

    @property
    def clients(self) -> tuple[ModelClient, ...]:
        """The clients of all experiments."""
        return tuple(variant.client for variant in self._by_name.values())


def window_with(window: Window, experiments: Sequence[Experiment]) -> Window:
    """The window with room for the longest system prompt of an experiment.

    Requests are built with the usual one, which is replaced when the model is called.
    """
    usual = message_tokens(window.system_prompt)
    longest = max((message_tokens(one.prompt) for one in experiments if one.prompt), default=0)
    longer = max(0, longest - usual)
    return replace(window, context_tokens=window.context_tokens - longer) if longer else window
