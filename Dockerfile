# One image for every command: `docker run IMAGE dataflow`. Needs nothing at run time but a NATS
# server and a volume at /data. What it contains is chosen when it is built:
#   docker build --build-arg WEB=1 .     also the libraries of the web page, about 400 MB
#   docker build --build-arg TRACES=1 .  also OpenTelemetry, for traces, 13 MB
#   docker build --build-arg DEMO=1 .    also the demo model, about 200 MB: `docker run -it IMAGE up`
# Nothing here depends on the time. Who publishes an image adds when and from where:
#   docker build --label org.opencontainers.image.created=... --label org.opencontainers.image.source=...

FROM python:3.12-slim AS installer
# The installer stays in this stage.
RUN python -m pip install --no-cache-dir uv==0.13.9
WORKDIR /source

# The lock files hold every dependency with its hashes, so nothing is resolved here.
FROM installer AS dependencies
RUN python -m venv --without-pip /opt/threadwax
COPY requirements.lock requirements-web.lock requirements-traces.lock requirements-demo-model.lock ./
ARG WEB
ARG TRACES
ARG DEMO
# The lock files of the page and of traces include the first one, so each package is taken once.
# Without the demo model, nothing imports its library.
RUN cat requirements${WEB:+-web}.lock ${TRACES:+requirements-traces.lock} ${DEMO:+requirements-demo-model.lock} | awk -v demo="$DEMO" '/^[^ #]/ { kept = !seen[$1]++ && (demo || !/^xllamacpp==/) } kept' > installed.lock
RUN uv pip install --no-cache --compile-bytecode --python /opt/threadwax/bin/python --no-deps --require-hashes -r installed.lock

# The software bill of materials, from the same lock file.
FROM dependencies AS bill-of-materials
COPY requirements-sbom.lock pyproject.toml ./
RUN python -m venv --without-pip /opt/cyclonedx
RUN uv pip install --no-cache --python /opt/cyclonedx/bin/python --no-deps --require-hashes -r requirements-sbom.lock
RUN mkdir -p /opt/bill/share/sbom
RUN /opt/cyclonedx/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --validate --output-file /opt/bill/share/sbom/threadwax.cdx.json installed.lock

# Our own code: the only stage that a change of it builds again.
FROM dependencies AS code
COPY pyproject.toml README.md ./
COPY shared ./shared
COPY bots ./bots
COPY dataflow ./dataflow
COPY ops ./ops
RUN uv pip install --no-cache --compile-bytecode --python /opt/threadwax/bin/python --prefix /opt/code --no-deps .

FROM python:3.12-slim
ARG DEMO
# libgomp1: the demo model's library is linked against it, and the slim image does not have it.
RUN if [ -n "$DEMO" ]; then apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*; fi
# /recorder: where the service `admin` of docker-compose.yml has the recorder's volume.
RUN groupadd --system --gid 10001 threadwax \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --no-create-home threadwax \
    && install --directory --owner=threadwax --group=threadwax --mode=0700 /data /recorder
WORKDIR /data
VOLUME /data
# Three layers, from the one that changes least: an upgrade of the code transfers the last one only.
COPY --from=dependencies /opt/threadwax /opt/threadwax
COPY --from=bill-of-materials /opt/bill /opt/threadwax
COPY --from=code /opt/code /opt/threadwax
ENV PATH=/opt/threadwax/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    THREADWAX_HOME=/data \
    THREADWAX_HTTP_PORT=8080
USER 10001:10001
# Alive, not ready: some orchestrators kill an unhealthy container, and a process that waits for NATS
# or for its platform must not be killed. docker-compose.yml asks /readyz instead, because Compose
# only reports. By default the port is on the container's loopback, so only this check reaches it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "ops.probe", "/healthz"]
# The exec form: threadwax itself is process 1, receives SIGTERM, and stops cleanly.
STOPSIGNAL SIGTERM
ENTRYPOINT ["threadwax"]
CMD ["--help"]
# Last, so that another revision rebuilds nothing else.
ARG REVISION=unknown
LABEL org.opencontainers.image.title="threadwax" \
      org.opencontainers.image.description="A chat bot for Slack, Discord, the browser and the terminal that never loses a message and never answers twice." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim"
