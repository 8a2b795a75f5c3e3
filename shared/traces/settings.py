"""The settings of traces: the standard variables of OpenTelemetry.

Its library reads many more from the environment; these can also be in `.env`.
"""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from shared.setting_kinds import AnyCase, FromEnvironment, WebAddress


class TraceSettings(FromEnvironment):
    """Where traces are sent, and of how many questions."""

    endpoint: WebAddress | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where traces are sent: the address of an OpenTelemetry receiver for OTLP "
        "over HTTP, such as http://127.0.0.1:4318. By default there are no traces. Needs the extra "
        "`traces`. docs/traces.md",
    )
    headers: SecretStr | None = Field(
        None,
        alias="OTEL_EXPORTER_OTLP_HEADERS",
        description="Headers for that receiver, for example its key: name=value, separated by "
        "commas, with %20 for a blank.",
    )
    service_name: str | None = Field(
        None,
        alias="OTEL_SERVICE_NAME",
        description="The service's name in traces. By default threadwax- and the name of the "
        "command, such as threadwax-dataflow.",
    )
    sampler: (
        Annotated[
            Literal[
                "always_on", "always_off", "traceidratio", "parentbased_always_on",
                "parentbased_always_off", "parentbased_traceidratio",
            ],
            AnyCase,
        ] | None
    ) = Field(
        None,
        alias="OTEL_TRACES_SAMPLER",
        description="Which questions are traced: always_on, always_off, or traceidratio for a "
        "share of them; all processes choose the same ones. By default all.",
    )  # fmt: skip
    sampler_arg: float | None = Field(
        None,
        alias="OTEL_TRACES_SAMPLER_ARG",
        ge=0,
        le=1,
        description="The share for traceidratio, from 0 to 1.",
    )

    def variables(self) -> dict[str, str]:
        """The settings as environment variables. Contains the secret headers."""
        headers = self.headers.get_secret_value() if self.headers is not None else None
        values = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": headers,
            "OTEL_SERVICE_NAME": self.service_name,
            "OTEL_TRACES_SAMPLER": self.sampler,
            "OTEL_TRACES_SAMPLER_ARG": self.sampler_arg,
        }
        return {name: str(value) for name, value in values.items() if value is not None}
