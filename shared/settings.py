"""All settings, from environment variables or `.env`, read once at the start of a process."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.private_file import private_text

DEFAULT_NATS_PORT: Final = 4222


class Settings(BaseSettings):
    """Every setting of every command; a field's alias is its environment variable."""

    model_config = SettingsConfigDict(
        # Aliases only: by its field's name `home` would be taken from HOME, a person's own folder.
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        validate_default=True,
    )

    nats_url: str | None = Field(
        None,
        alias="NATS_URL",
        description="The NATS server, with user and password where it wants them. "
        "Without it: the one that `threadwax up` or `threadwax nats` runs on this data folder.",
    )
    home: Path = Field(Path(".threadwax"), alias="THREADWAX_HOME", description="The data folder.")
    http_port: int | None = Field(
        None,
        alias="THREADWAX_HTTP_PORT",
        description="Serves /healthz, /readyz and /metrics there; 0 takes a free port.",
    )
    http_host: str = Field(
        "127.0.0.1", alias="THREADWAX_HTTP_HOST", description="The address for that port."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", alias="THREADWAX_LOG_LEVEL", description="How much is logged."
    )

    openai_api_key: SecretStr | None = Field(
        None, alias="OPENAI_API_KEY", description="Without key and base URL: the demo model."
    )
    openai_base_url: str | None = Field(
        None,
        alias="OPENAI_BASE_URL",
        description="Any OpenAI-compatible endpoint: Ollama, vLLM, llama.cpp, LM Studio, a proxy.",
    )
    model: str | None = Field(
        None, alias="THREADWAX_MODEL", description="The model's name at that endpoint."
    )
    dialect: Literal["openai", "ollama", "vllm", "llamacpp"] | None = Field(
        None, alias="THREADWAX_DIALECT", description="How it speaks; guessed from the base URL."
    )
    context_tokens: int | None = Field(
        None,
        alias="THREADWAX_CONTEXT_TOKENS",
        ge=512,
        description="The model's context window; by default 2048 for the demo model, else 32768.",
    )
    answer_tokens: int | None = Field(
        None,
        alias="THREADWAX_ANSWER_TOKENS",
        ge=16,
        description="Longest answer in tokens; by default a quarter of the context window.",
    )
    system_prompt: str | None = Field(
        None,
        alias="THREADWAX_SYSTEM_PROMPT",
        description="Who the bot is, where a place has no persona of its own; "
        "by default a helpful assistant.",
    )
    model_give_up_s: float = Field(
        90.0,
        alias="THREADWAX_MODEL_GIVE_UP_S",
        gt=0,
        description="Seconds of retries before a question is answered with a failure notice.",
    )
    model_silence_s: float = Field(
        60.0,
        alias="THREADWAX_MODEL_SILENCE_S",
        gt=0,
        description="Seconds a model may say nothing before the call counts as stalled.",
    )
    rest_after_s: float = Field(
        600.0,
        alias="THREADWAX_REST_AFTER_S",
        ge=2,
        description="Seconds without a word after which a conversation leaves memory for the disk; "
        "it comes back with the next word. Not in a cluster over several machines.",
    )

    chat_history: int = Field(
        1000,
        alias="THREADWAX_CHAT_HISTORY",
        ge=0,
        description="Questions that the terminal chat remembers for its Up key, in a private file "
        "of the data folder; 0 remembers none.",
    )

    cluster: str | None = Field(
        None,
        alias="THREADWAX_CLUSTER",
        description="host:port of every dataflow process of a cluster over several machines, "
        "separated by ';', the same on each.",
    )
    process_id: int = Field(
        0, alias="THREADWAX_PROCESS_ID", ge=0, description="This process's place in that list."
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @property
    def demo_model(self) -> bool:
        """Whether answers come from the embedded demo model."""
        return self.openai_api_key is None and self.openai_base_url is None

    @property
    def embedded_nats_url_file(self) -> Path:
        """Where a running embedded server leaves its address; readable by its owner only."""
        return self.home / "nats" / "url"

    @property
    def embedded_model_file(self) -> Path:
        """Where a running demo model leaves its address and key; readable by its owner only."""
        return self.home / "model" / "endpoint.json"

    def bus_url(self) -> str:
        """The NATS server to use: the configured one, else the embedded one of the data folder."""
        if self.nats_url:
            return self.nats_url
        # Only a whole one: see `shared.private_file`.
        left = private_text(self.embedded_nats_url_file)
        return left or f"nats://127.0.0.1:{DEFAULT_NATS_PORT}"
