"""Experiments: a stable share of the users gets another model, endpoint or system prompt.

Pure. Which group a user is in depends on nothing but the user and the experiment's name, so it is
the same after a restart and in every process.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import NoDecode

from shared.setting_kinds import ModelAddress, Secret, from_json, text_of_file

PROMPT_LIMIT_CHARS: Final = 100_000
EXPERIMENTS_LIMIT: Final = 20

_HASH_BYTES: Final = 8
_POSITIONS: Final = float(1 << 8 * _HASH_BYTES)


class Experiment(BaseModel):
    """What a share of the users gets. `percent` is of all users, above 0 and at most 100.

    `model` may be `local:NAME`, an adapter of the embedded model. `api_key` belongs to `base_url`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    percent: float = Field(gt=0, le=100, allow_inf_nan=False)
    model: str | None = Field(default=None, min_length=1)
    base_url: ModelAddress | None = None
    api_key: Secret | None = None
    prompt: str | None = Field(default=None, min_length=1, max_length=PROMPT_LIMIT_CHARS)

    @model_validator(mode="after")
    def _changes_something(self) -> "Experiment":
        if not self.changes_model and self.prompt is None:
            raise ValueError("it changes nothing: add a model, a base_url or a prompt")
        if self.api_key is not None and self.base_url is None:
            raise ValueError("its api_key needs a base_url: other endpoints have their own key")
        return self

    @property
    def changes_model(self) -> bool:
        """Whether another model or endpoint is asked."""
        return self.model is not None or self.base_url is not None

    def has(self, user: str) -> bool:
        """Whether the share contains this user."""
        return position_of(user, self.name) * 100 < self.percent

    def yields_to(self, *, persona: str | None, model: str | None) -> bool:
        """Whether a place's own persona or model is what the experiment would change."""
        if self.changes_model and model is not None:
            return True
        return self.prompt is not None and persona is not None


def position_of(user: str, name: str) -> float:
    """A number from 0 to below 1 for a user in an experiment; they are evenly distributed."""
    hashed = hashlib.blake2b(f"{name}\0{user}".encode(), digest_size=_HASH_BYTES).digest()
    return int.from_bytes(hashed, "big") / _POSITIONS


def experiment_of(user: str, experiments: Iterable[Experiment]) -> Experiment | None:
    """The experiment that a user takes part in: the first whose share contains the user."""
    return next((one for one in experiments if one.has(user)), None)


def experiment_for(
    user: str, experiments: Iterable[Experiment], *, persona: str | None, model: str | None
) -> Experiment | None:
    """The experiment that a user's question belongs to.

    `persona` and `model` are those of the question's place, which come first.
    """
    found = experiment_of(user, experiments)
    if found is None or found.yields_to(persona=persona, model=model):
        return None
    return found


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _with_different_names(experiments: Any) -> Any:
    names = [one.get("name") for one in experiments or () if isinstance(one, dict)]
    if len(names) != len(set(map(str, names))):
        raise ValueError("two experiments have the same name: give each its own")
    return experiments


ExperimentsSetting = Annotated[
    tuple[Experiment, ...],
    NoDecode,
    Field(max_length=EXPERIMENTS_LIMIT),
    BeforeValidator(_with_different_names),
    BeforeValidator(_listed),
    BeforeValidator(from_json),
    BeforeValidator(text_of_file),
]
"""A setting with one experiment, or a list of them, as JSON or the path of a file."""
