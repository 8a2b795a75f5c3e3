"""Secrets from files that variables name: OPENAI_API_KEY_FILE has the path for OPENAI_API_KEY.

An error must never contain what is in a file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

SUFFIX: Final = "_FILE"

WITH_PASSWORDS: Final = frozenset({"NATS_URL"})
"""Settings that are shown without their passwords, so they are no `SecretStr`."""

LIMIT_BYTES: Final = 1 << 16


def secret_names(kind: type[BaseSettings]) -> frozenset[str]:
    """The secret settings of one class."""
    return frozenset(str(field.alias) for field in kind.model_fields.values() if _is_secret(field))


def _is_secret(field: FieldInfo) -> bool:
    return field.alias in WITH_PASSWORDS or _mentions_secret(field.annotation)


def _mentions_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_mentions_secret, get_args(annotation)))


class NamedSecrets(EnvSettingsSource):
    """Reads the files that `variables` name, whose keys are in lower case.

    Raises:
        OSError: a file cannot be read.
        SettingsError: a file is empty.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None]
    ) -> None:
        super().__init__(settings_cls)
        self.env_vars = dict(_values(settings_cls, variables))


def _values(
    kind: type[BaseSettings], variables: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    for name in secret_names(kind):
        path = variables.get((name + SUFFIX).lower())
        if not path or variables.get(name.lower()):  # the variable itself takes precedence
            continue
        # A broken character is refused where the setting is validated.
        with Path(path).expanduser().open(encoding="utf-8", errors="replace") as file:
            text = file.read(LIMIT_BYTES).strip()
        if not text:
            raise SettingsError(
                f"{path} is empty: write the value of {name} into it, or remove {name}{SUFFIX}"
            )
        yield name.lower(), text
