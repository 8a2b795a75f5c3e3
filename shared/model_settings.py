"""The settings of the model: which one answers, where it runs, and how it is asked.

It must never say anything about a platform, NATS or the database.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from shared.experiments import ExperimentsSetting
from shared.setting_kinds import AnyCase, FromEnvironment, ModelAddress, Secret

LOCAL: Final = "local:"
"""Begins the name of a model that `threadwax finetune` has trained."""

BASE: Final = "base"
"""After `LOCAL`, it names the embedded model without any adapter."""


class ModelSettings(FromEnvironment):
    """The endpoint, its fallback and its limits; without an endpoint, the demo model answers."""

    openai_api_key: Secret | None = Field(
        None,
        alias="OPENAI_API_KEY",
        description="The API key of the model's endpoint. If neither this nor OPENAI_BASE_URL is "
        "set, the demo model answers.",
    )
    openai_base_url: ModelAddress | None = Field(
        None,
        alias="OPENAI_BASE_URL",
        description="The address of any OpenAI-compatible endpoint: Ollama, vLLM, llama.cpp, LM "
        "Studio, a proxy. By default OpenAI's own.",
    )
    model: str | None = Field(
        None,
        alias="THREADWAX_MODEL",
        description="The model's name at that endpoint; by default OpenAI's gpt-6-luna. local:NAME "
        "is the embedded model with the adapter that `threadwax finetune` trained, and "
        "local:base is that model without any.",
    )
    dialect: Annotated[Literal["openai", "ollama", "vllm", "llamacpp"], AnyCase] | None = Field(
        None,
        alias="THREADWAX_DIALECT",
        description="What runs at that endpoint: openai, ollama, vllm or llamacpp. By default it "
        "is guessed from the address.",
    )
    context_tokens: int | None = Field(
        None,
        alias="THREADWAX_CONTEXT_TOKENS",
        ge=512,
        description="The size of the model's context window in tokens. By default 2048 for the "
        "demo model; otherwise 32768, or less if the endpoint reports less.",
    )
    answer_tokens: int | None = Field(
        None,
        alias="THREADWAX_ANSWER_TOKENS",
        ge=16,
        description="The longest answer in tokens; by default a quarter of the context window.",
    )
    reasoning_effort: (
        Annotated[Literal["none", "minimal", "low", "medium", "high", "xhigh"], AnyCase] | None
    ) = Field(
        None,
        alias="THREADWAX_REASONING_EFFORT",
        description="How much a reasoning model thinks: none, minimal, low, medium, high or "
        "xhigh. By default the endpoint decides. The less it thinks, the more of "
        "THREADWAX_ANSWER_TOKENS is left for the answer.",
    )
    fallback_base_url: ModelAddress | None = Field(
        None,
        alias="OPENAI_FALLBACK_BASE_URL",
        description="The address of a second endpoint, which is asked if the first one fails "
        "before it begins to answer. The answer then says which model gave it.",
    )
    fallback_api_key: Secret | None = Field(
        None,
        alias="OPENAI_FALLBACK_API_KEY",
        description="The API key of the second endpoint. Without OPENAI_FALLBACK_BASE_URL, it is "
        "a key for OpenAI.",
    )
    fallback_model: str | None = Field(
        None,
        alias="THREADWAX_FALLBACK_MODEL",
        description="The model's name at the second endpoint; by default THREADWAX_MODEL. If it "
        "is the only one of these three settings, the first endpoint is asked for this model.",
    )
    system_prompt: str | None = Field(
        None,
        alias="THREADWAX_SYSTEM_PROMPT",
        description="The system prompt, which says who the bot is; by default a helpful "
        "assistant. The persona of a channel or server replaces it.",
    )
    summaries: bool = Field(
        default=True,
        alias="THREADWAX_SUMMARIES",
        description="Whether the model summarizes the oldest part of a long conversation, in the "
        "background. Not used with the demo model, nor if less than 4000 tokens of the context "
        "window are left for the conversation.",
    )
    experiments: ExperimentsSetting = Field(
        default=(),
        alias="THREADWAX_EXPERIMENTS",
        description="A second model, endpoint or system prompt for a share of the users, as JSON "
        'or the path of a JSON file: {"name": "terra", "percent": 10, "model": "gpt-6.1-terra"}, '
        "or a list of these. Also possible: base_url with api_key, and prompt. docs/rehearse.md",
    )
    model_give_up_s: float = Field(
        90.0,
        alias="THREADWAX_MODEL_GIVE_UP_S",
        gt=0,
        allow_inf_nan=False,
        description="For how many seconds a failed model call is tried again before the person "
        "gets a notice.",
    )
    model_silence_s: float = Field(
        60.0,
        alias="THREADWAX_MODEL_SILENCE_S",
        gt=0,
        allow_inf_nan=False,
        description="After how many seconds without data from the model a call counts as stalled.",
    )

    @model_validator(mode="after")
    def _possible_experiments(self) -> Self:
        for one in self.experiments:
            if one.model is None or one.base_url is not None:
                continue
            if one.model.startswith(LOCAL) and not self.demo_model:
                raise ValueError(
                    f"THREADWAX_EXPERIMENTS: {one.name} names an adapter of the embedded model, "
                    "which does not run: add a base_url of a server that has it"
                )
            if self.demo_model and not one.model.startswith(LOCAL):
                raise ValueError(
                    f"THREADWAX_EXPERIMENTS: {one.name} names a model that the embedded server "
                    f"does not have: add its base_url, or name an adapter as {LOCAL}NAME"
                )
        return self

    @property
    def demo_model(self) -> bool:
        """Whether answers come from the embedded demo model, with or without an adapter."""
        return self.adapter is not None or (
            self.openai_api_key is None and self.openai_base_url is None
        )

    @property
    def adapter(self) -> str | None:
        """The name of the adapter that the embedded model uses, if `THREADWAX_MODEL` names one."""
        if self.model is None or not self.model.startswith(LOCAL):
            return None
        return self.model.removeprefix(LOCAL)
