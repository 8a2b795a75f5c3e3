"""The settings of the web page, read once at its start. Needs none of the page's libraries."""

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.setting_kinds import AnyCase, FromEnvironment, Host, Secret, WebAddress, entries

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
USUAL_PORTS: Final = range(8501, 8511)
CALLBACK: Final = "/oauth2callback"
"""Where Streamlit expects people back from the provider."""


def _names(value: object) -> object:
    """The entries; case does not matter in an address, which is the only one with an @."""
    if not isinstance(value, str):
        return value
    found = tuple(one.lower() if "@" in one else one for one in entries(value))
    if not found:
        raise ValueError("it names nobody: name somebody, or remove it")
    return found


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]


class WebSettings(FromEnvironment):
    """Every setting of `threadwax web`."""

    model_config = SettingsConfigDict(env_prefix="THREADWAX_WEB_", populate_by_name=True)

    port: int | None = Field(
        None,
        alias="THREADWAX_WEB_PORT",
        ge=0,
        le=65535,
        description="The port of the web page; 0 chooses a free one. By default 8501. If that is "
        "taken and THREADWAX_WEB_URL is not set, the next free one.",
    )
    host: Host = Field(
        "127.0.0.1",
        alias="THREADWAX_WEB_HOST",
        description="The address on which the web page is served. Any other than this machine's "
        "own needs THREADWAX_WEB_OIDC_URL, so that people sign in.",
    )
    url: WebAddress | None = Field(
        None,
        alias="THREADWAX_WEB_URL",
        description="The page's address as people see it, for example https://chat.example.org. "
        "Only this host is served.",
    )
    oidc_url: WebAddress | None = Field(
        None,
        alias="THREADWAX_WEB_OIDC_URL",
        description="Where people sign in: the address of the OpenID Connect provider's "
        "configuration, which ends in /.well-known/openid-configuration. Without it, everybody "
        "on this machine can chat under any name.",
    )
    oidc_client_id: str | None = Field(
        None,
        alias="THREADWAX_WEB_OIDC_CLIENT_ID",
        description="The client id that the provider gave to this page.",
    )
    oidc_client_secret: Secret | None = Field(
        None,
        alias="THREADWAX_WEB_OIDC_CLIENT_SECRET",
        description="The client secret that belongs to THREADWAX_WEB_OIDC_CLIENT_ID.",
    )
    allow_users: Names = Field(
        (),
        alias="THREADWAX_WEB_ALLOW_USERS",
        description="Who may use the page: verified e-mail addresses, domains such as "
        "@example.org, or subject ids of accounts, separated by commas. If it is empty, everybody "
        "who can sign in at the provider: with a public one such as Google, that is everybody.",
    )
    sharing: Annotated[Literal["on", "off"], AnyCase] = Field(
        "off",
        alias="THREADWAX_WEB_SHARING",
        description="Whether people can make links with which others read a conversation, or one "
        "answer: on or off. Whoever may use the page can open such a link.",
    )
    operators: Names = Field(
        (),
        alias="THREADWAX_WEB_OPERATORS",
        description="Who sees the dashboard: verified e-mail addresses or subject ids of accounts, "
        "separated by commas. Without THREADWAX_WEB_OIDC_URL, everybody on this machine does.",
    )

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports to try in this order. A proxy in front of the page knows only one."""
        if self.port is not None:
            return (self.port,)
        return (USUAL_PORTS[0],) if self.url else (*USUAL_PORTS, 0)

    @property
    def redirect_uri(self) -> str:
        """The address that the provider has to allow; empty without THREADWAX_WEB_URL."""
        return f"{self.url.rstrip('/')}{CALLBACK}" if self.url else ""

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if self.oidc_url is None:
            if self.host not in LOOPBACK:
                raise ValueError(
                    "THREADWAX_WEB_HOST: everybody could chat under any name: set "
                    "THREADWAX_WEB_OIDC_URL, so that people sign in, or use 127.0.0.1"
                )
            return self
        missing = [
            name
            for name, value in (
                ("THREADWAX_WEB_URL", self.url),
                ("THREADWAX_WEB_OIDC_CLIENT_ID", self.oidc_client_id),
                ("THREADWAX_WEB_OIDC_CLIENT_SECRET", self.oidc_client_secret),
            )
            if value is None
        ]
        if missing:
            raise ValueError(f"THREADWAX_WEB_OIDC_URL also needs {' and '.join(missing)}")
        return self
