# One image for every command: `docker run IMAGE dataflow`. Needs nothing at run time but a NATS
# server and a volume at /data; `docker run -it IMAGE up` needs not even these.

FROM python:3.12-slim AS build
# The installer stays in this stage.
RUN python -m pip install --no-cache-dir uv==0.13.9
WORKDIR /source
RUN python -m venv --without-pip /opt/threadwax
# First what changes seldom. The lock file holds every dependency, so none is looked for.
COPY requirements.lock ./
RUN uv pip install --no-cache --compile-bytecode --python /opt/threadwax/bin/python --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY shared ./shared
COPY bots ./bots
COPY dataflow ./dataflow
COPY ops ./ops
RUN uv pip install --no-cache --compile-bytecode --python /opt/threadwax/bin/python --no-deps .

FROM python:3.12-slim
# libgomp1: the demo model's library is linked against it, and the slim image has none.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --no-create-home threadwax \
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
# Alive, not ready: a process that waits for NATS must not be killed for it. The port is on loopback
# in the container, so nobody else sees it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['THREADWAX_HTTP_PORT'] + '/healthz', timeout=3)"]
# The exec form: threadwax itself is process 1 and gets SIGTERM, upon which it ends in good order.
STOPSIGNAL SIGTERM
ENTRYPOINT ["threadwax"]
CMD ["--help"]
