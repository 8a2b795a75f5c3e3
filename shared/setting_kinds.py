"""The kinds of settings, and how their values are validated.

Pure, except that one kind reads the file that it names. An error says what is wrong and what to do.
It must never contain the value: a secret may be in the wrong variable.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, SecretStr
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from shared import folders
from shared.named_secrets import NamedSecrets
from shared.secret_files import secrets_dirs

_QUOTES: Final = "\"'\u2018\u2019\u201c\u201d"
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")
_NAME_OF_HOST: Final = re.compile(r"(?!-)[\w-]+(\.(?!-)[\w-]+)*\.?|[0-9a-f:]+(%\w+)?")
"""A host name with letters of any alphabet, or an IPv6 address."""

FILE_LIMIT_BYTES: Final = 1 << 20

_PATHS_OF_CALLS: Final = re.compile(r"/(chat/completions|completions|models|responses)/*$")


class FromEnvironment(BaseSettings):
    """Settings from environment variables, the file `.env`, and secret files, in this order."""

    model_config = SettingsConfigDict(
        secrets_dir=secrets_dirs(), env_ignore_empty=True, extra="ignore", validate_default=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Finds `.env` when the settings are read, not when this module is imported."""
        del dotenv_settings
        file = DotEnvSettingsSource(
            settings_cls, env_file=folders.settings_file(), env_file_encoding="utf-8"
        )
        variables = {**file.env_vars, **vars(env_settings)["env_vars"]}
        named = NamedSecrets(settings_cls, variables)
        return init_settings, env_settings, file, named, file_secret_settings


def _unquoted(text: str) -> str:
    text = text.strip()
    if text and (text[0] in _QUOTES or text[-1] in _QUOTES):
        raise ValueError("it has quotation marks around it: remove them")
    return text


def _secret(value: SecretStr) -> SecretStr:
    text = _unquoted(value.get_secret_value())
    if not all(" " < character <= "~" for character in text):
        raise ValueError("it has a character that no key or token has: copy all of it again")
    return SecretStr(text)


Secret = Annotated[SecretStr, AfterValidator(_secret)]
"""A key or a token, which becomes part of a request header."""


def _address(*schemes: str) -> Callable[[str], str]:
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)

    def checked(value: str) -> str:
        value = _unquoted(value)
        if any(character.isspace() for character in value):
            raise ValueError("it contains a blank: remove that")
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise ValueError(
                "its host or port cannot be read: write it as "
                f"{schemes[0]}://host:port, with a port from 1 to 65535"
            ) from None
        if parts.scheme not in schemes:
            raise ValueError(f"it does not begin with {wanted}: put that in front of the host")
        if not parts.hostname or port == 0 or not _NAME_OF_HOST.fullmatch(parts.hostname):
            raise ValueError(f"it names no host: write it as {schemes[0]}://host:port")
        if parts.query or parts.fragment:
            raise ValueError("it has a ? or # after the path: remove that and everything after it")
        return value

    return checked


WebAddress = Annotated[str, AfterValidator(_address("https", "http"))]


def _base(value: str) -> str:
    if found := _PATHS_OF_CALLS.search(urlsplit(value).path):
        raise ValueError(f"it ends in {found[0]}, which every call adds itself: remove that")
    return value


ModelAddress = Annotated[WebAddress, AfterValidator(_base)]
SocketAddress = Annotated[str, AfterValidator(_address("wss", "ws"))]


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(
            "it is not a host name or address: use 127.0.0.1 for this machine alone, or "
            "0.0.0.0 for every network"
        )
    return value


Host = Annotated[str, AfterValidator(_host)]
"""An address to listen on, without a port."""


def _in_lower_case(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _whole_number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


WholeNumber = BeforeValidator(_whole_number)
"""Reads the text of a variable as one of a few whole numbers."""

AnyCase = BeforeValidator(_in_lower_case)
"""Makes the names of a list case-insensitive."""


def renamed(old: str, new: str) -> AliasChoices:
    """The `validation_alias` of a setting that has a new name; the old one is still read.

    `alias` is the new name. Remove this one release later: ops/settings.py warns until then.
    """
    return AliasChoices(new, old)


def new_names(kind: type[BaseSettings]) -> dict[str, str]:
    """The old names that are still read, and the new name of each."""
    return {
        old: str(field.alias)
        for field in kind.model_fields.values()
        if isinstance(field.validation_alias, AliasChoices)
        for old in field.validation_alias.choices
        if isinstance(old, str) and old != field.alias
    }


def entries(text: str) -> tuple[str, ...]:
    """Splits a list at commas and white space."""
    return tuple(text.replace(",", " ").split())


def from_json(value: Any) -> Any:
    """Parses JSON, if the value is a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        where = getattr(error, "pos", 0) + 1
        raise ValueError(
            f"it is not JSON (character {where}): use double quotes for names and texts, and put "
            "single quotes around the whole"
        ) from None
    except RecursionError:
        raise ValueError("it is nested too deeply: .env.example has an example") from None


def text_of_file(value: Any) -> Any:
    """Reads the file that a setting names instead of JSON; anything else stays as it is."""
    if not isinstance(value, str) or value.lstrip().startswith(("{", "[")):
        return value
    try:
        with Path(value.strip()).expanduser().open(encoding="utf-8") as file:
            return file.read(FILE_LIMIT_BYTES)
    except (OSError, ValueError, RuntimeError):
        raise ValueError(
            "it is neither JSON nor the path of a file that this user can read: .env.example has "
            "an example"
        ) from None
