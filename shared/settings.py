"""All settings, read once when a process starts, from environment variables or `.env`.

It must never open a connection, nor create a folder.
"""

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from shared import folders
from shared.attested import Attested
from shared.budgets import Budgets, BudgetSetting
from shared.model_settings import ModelSettings
from shared.nats_address import BadAddress, address_of
from shared.prices import Prices
from shared.private_file import private_text
from shared.setting_kinds import AnyCase, Host, Secret, WholeNumber, renamed

DEFAULT_NATS_PORT: Final = 4222


class Settings(ModelSettings):
    """The settings of all commands; a field's alias is its environment variable.

    Field names are not used, or `home` would be read from HOME, the person's own folder.
    """

    nats_url: str | None = Field(
        None,
        alias="NATS_URL",
        description="The NATS server, with user and password if it requires them: "
        "nats://user:password@host:port. For a cluster, several servers, separated by commas. In "
        "the password, write %40 for @, %2F for / and %25 for %. By default the server that "
        "`threadwax up` or `threadwax nats` runs on this data folder.",
    )
    nats_replicas: Annotated[Literal[1, 3, 5], WholeNumber] = Field(
        1,
        alias="THREADWAX_NATS_REPLICAS",
        description="On how many servers of a NATS cluster each message is kept: 1, 3 or 5. "
        "`threadwax nats --setup-only` applies it, and only ever raises it. docs/deploy.md",
    )
    home: Path = Field(
        default_factory=folders.data_folder,
        alias="THREADWAX_HOME",
        description="The data folder. By default .threadwax in the current folder if that has a "
        ".threadwax or a .env; otherwise .threadwax in the checkout that the program runs from; "
        "without a checkout the user's own folder, such as ~/.local/share/threadwax.",
    )
    http_port: int | None = Field(
        None,
        alias="THREADWAX_HTTP_PORT",
        ge=0,
        le=65535,
        description="The port that serves /healthz, /readyz and /metrics; 0 chooses a free one. "
        "By default they are not served.",
    )
    http_host: Host = Field(
        "127.0.0.1",
        alias="THREADWAX_HTTP_HOST",
        description="The address to listen on with THREADWAX_HTTP_PORT.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = Field(
        "info",
        alias="THREADWAX_LOG_LEVEL",
        description="The least severe level that is logged: debug, info, warning or error.",
    )

    evict_after_s: float = Field(
        600.0,
        alias="THREADWAX_EVICT_AFTER_S",
        validation_alias=renamed("THREADWAX_REST_AFTER_S", "THREADWAX_EVICT_AFTER_S"),
        ge=2,
        allow_inf_nan=False,
        description="After how many seconds an idle conversation leaves memory; its user's next "
        "message brings it back from the store.",
    )

    database_url: Secret | None = Field(
        None,
        alias="DATABASE_URL",
        description="The database of questions and answers: postgresql://user:password@host/name, "
        "or sqlite:////path/to/a/file. By default a SQLite file in the data folder. In PostgreSQL "
        "the dataflow also stores conversations, so that it can run on several machines.",
    )
    recorder: Annotated[Literal["on", "off"], AnyCase] = Field(
        "on",
        alias="THREADWAX_RECORDER",
        description="Whether `threadwax up` records questions and answers in the database: on or "
        "off.",
    )
    link_accounts: Annotated[Literal["on", "off"], AnyCase] = Field(
        "off",
        alias="THREADWAX_LINK_ACCOUNTS",
        description="Whether people can link their accounts on several platforms, so that each "
        "recalls what they said under the others: on or off. docs/web.md says how.",
    )
    web: Annotated[Literal["on", "off"], AnyCase] = Field(
        "on",
        alias="THREADWAX_WEB",
        description="Whether `threadwax up` starts the web page, if it is installed: on or off.",
    )
    prices: Prices = Field(
        default_factory=dict,
        alias="THREADWAX_PRICES",
        description="What models cost, in dollars per million tokens, as JSON or the path of a "
        'JSON file: {"my-model": {"input": 0.1, "cached_input": 0.01, "output": 0.5}}. They are '
        "added to the prices that are built in; the name * means every other model.",
    )
    keep_days: int | None = Field(
        None,
        alias="THREADWAX_KEEP_DAYS",
        ge=1,
        le=36_500,
        description="After how many days questions, answers, files and what people did are erased. "
        "By default the streams keep them for 7 days, and conversations and the database without a "
        "limit. docs/forget.md says what is erased when.",
    )

    training_attested: Attested = Field(
        default_factory=dict,
        alias="THREADWAX_TRAINING_ATTESTED",
        description="The channels of Slack and Discord whose messages `threadwax export` may "
        "write, and why, as JSON or the path of a JSON file, by platform and channel id: "
        '{"slack": {"C0123": "Its members agreed to training on 2026-11-01"}}. docs/export.md '
        "says what to check first. Other platforms need no attestation.",
    )
    budgets: BudgetSetting = Field(
        default_factory=Budgets,
        alias="THREADWAX_BUDGETS",
        description="How many tokens and dollars people and places can use per day and month, as "
        'JSON or the path of a JSON file: {"each_user": {"tokens_per_day": 200000}, "roles": '
        '{"slack:guest": {"dollars_per_month": 1}}, "places": {"slack:C0123456789": '
        '{"dollars_per_day": 5}}}. docs/budgets.md',
    )

    chat_history: int = Field(
        1000,
        alias="THREADWAX_CHAT_HISTORY",
        ge=0,
        description="How many questions the terminal chat keeps for its Up key, in a private file "
        "in the data folder; 0: none.",
    )

    partitions: int | None = Field(
        None,
        alias="THREADWAX_PARTITIONS",
        ge=1,
        le=256,
        description="Into how many partitions users are divided when the streams are set up for "
        "the first time; by default 16. At most so many dataflow processes can share the work. It "
        "cannot be changed afterwards.",
    )

    @field_validator("nats_url")
    @classmethod
    def _readable(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            address_of(url)
        except BadAddress as error:
            raise ValueError(str(error)) from None
        return url.strip()

    @field_validator("home", mode="before")
    @classmethod
    def _absolute(cls, home: str | Path) -> Path:
        try:
            wanted = Path(home).expanduser()
        except RuntimeError:
            raise ValueError("there is no such user: write the path out in full") from None
        if "\0" in str(home):
            raise ValueError("no folder can have this name: choose another")
        if wanted.parts[:1] and wanted.parts[0].startswith("$"):
            raise ValueError(
                "a variable such as $HOME is not replaced here: write the path out in full, or "
                "start it with ~ for your home folder"
            )
        if not wanted.is_absolute() and "THREADWAX_HOME" not in os.environ:
            wanted = (
                folders.settings_file().parent / wanted
            )  # a relative path in `.env` starts there
        return wanted.absolute()

    @property
    def embedded_nats_url_file(self) -> Path:
        """The file with the address of the running embedded server; only its owner can read it."""
        return self.home / "nats" / "url"

    @property
    def embedded_model_file(self) -> Path:
        """The file with the running demo model's address and key; only its owner can read it."""
        return self.home / "model" / "endpoint.json"

    def bus_url(self) -> str:
        """The NATS server to use: the configured one, or the data folder's embedded one.

        Never a server that merely listens on the usual port. If the embedded server has not been
        started yet, this names its file, which `Connection.connect` understands.
        """
        if self.nats_url:
            return self.nats_url
        address = private_text(self.embedded_nats_url_file)
        return address or f"embedded:{self.embedded_nats_url_file}"
