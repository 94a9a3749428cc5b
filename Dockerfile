# The exporter, and beside it one environment for each client library that it is to test with.
#
#   docker build -t ibkr-exporter .
#   docker build -t ibkr-exporter --build-arg CLIENTS="ib_async nautilus_trader" .     nautilus_trader adds about 1 GB
#   docker build -t ibkr-exporter --build-arg CLIENTS= .                               the exporter alone
#
# `make image` fills the labels too, and docker-bake.hcl builds for amd64 and arm64. Two builds of one commit give the same
# layers: every package by its hash, every file of one date, bytecode without dates.
#
# CI runs this with a stand-in for the base image, because it cannot pull one (tests/stack/images).
ARG PYTHON=python:3.13.14-slim@sha256:9662417aace5ae7b8e2609cce472b72a8958e134ba372808abe9cc1a0c0125e6

FROM ${PYTHON} AS build
# PYTHONHASHSEED: the order of a set is part of the bytecode
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
WORKDIR /source
RUN python -m venv /build && python -m venv --without-pip /opt/ibkr-exporter
COPY requirements/build.txt requirements/runtime.txt requirements/
# pip tries a connection again, but not one that breaks in the middle of a file.
RUN thrice() { "$@" || "$@" || "$@"; } \
    && thrice /build/bin/pip install --quiet --require-hashes -r requirements/build.txt \
    && thrice /build/bin/pip --python /opt/ibkr-exporter/bin/python install --quiet --no-compile --require-hashes -r requirements/runtime.txt
# From here on everything changes with every commit; what is above only with the pins.
COPY pyproject.toml README.md LICENSE ./
COPY deploy/clients deploy/clients
COPY exporter exporter
COPY deploy/healthcheck.py /opt/ibkr-exporter/
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/ibkr-exporter/bin/python install --quiet --no-compile --no-deps /wheels/*.whl

FROM build AS clients
ARG CLIENTS="ibapi ib_insync ib_async"
ENV IBKR_EXPORTER_CLIENTS_DIR=/opt/clients
# One environment each: the libraries overwrite each other's import packages when they share one. pip is not needed after that.
RUN mkdir -p /opt/clients \
    && { [ -z "${CLIENTS}" ] || /opt/ibkr-exporter/bin/ibkr-exporter clients install ${CLIENTS}; } \
    && rm -rf /opt/clients/*/lib/python*/site-packages/pip /opt/clients/*/lib/python*/site-packages/pip-* /opt/clients/*/bin/pip*

FROM clients AS dated
# Bytecode that names its source by hash: the root of the container is read-only, so it could not be written later.
# Then all with one date (2026-01-01) below a root of its own: what COPY makes itself would be dated now.
RUN for environment in /opt/ibkr-exporter /opt/clients/*/; do \
        [ ! -d "${environment}/lib" ] || "${environment}/bin/python" -m compileall -q -f --invalidation-mode unchecked-hash "${environment}/lib" \
        || exit 1; \
    done \
    && mkdir -p /layers/clients/opt /layers/exporter/opt \
    && mv /opt/clients /layers/clients/opt && mv /opt/ibkr-exporter /layers/exporter/opt \
    && find /layers -exec touch -h -d @1767225600 {} +

FROM ${PYTHON}
COPY --from=dated /layers/clients /
COPY --from=dated /layers/exporter /
ENV PATH=/opt/ibkr-exporter/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    IBKR_EXPORTER_CLIENTS_DIR=/opt/clients \
    HOME=/tmp
# No account of the image is needed: nothing is written but /tmp, and no file belongs to this user.
USER 10001:10001
WORKDIR /tmp
EXPOSE 9497
# Over HTTP, or TLS where a web configuration file asks for it. A socket and no site-packages: 0.02 s of CPU.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-S", "/opt/ibkr-exporter/healthcheck.py"]
ENTRYPOINT ["ibkr-exporter"]
CMD ["serve"]
# Last, because they change with every commit.
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
ARG PYTHON
LABEL org.opencontainers.image.title="ibkr-exporter" \
    org.opencontainers.image.description="Says whether TWS / IB Gateway or the client library is at fault" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.documentation="docs/stack.md in the source" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.base.name="${PYTHON}"
