# gridstream without its embedded servers: it is told where Kafka and ClickHouse are (docker-compose.yml).

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv --without-pip /opt/gridstream
COPY requirements/production.txt requirements/build.txt requirements/
# Wheels alone: nothing is compiled, so neither stage has a compiler.
RUN python -m pip --python /opt/gridstream install --require-hashes --only-binary :all: --requirement requirements/production.txt \
 && python -m pip install --require-hashes --only-binary :all: --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY connectors connectors
COPY streams streams
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && python -m pip --python /opt/gridstream install --no-deps dist/gridstream-*.whl

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home gridstream
COPY --from=build /opt/gridstream /opt/gridstream
ENV PATH=/opt/gridstream/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GRIDSTREAM_INGRESS__HOST=0.0.0.0 \
    GRIDSTREAM_WORKER__METRICS_HOST=0.0.0.0
# Where gridstream.toml is put, so that every command finds it. Nothing is written but below /tmp.
WORKDIR /etc/gridstream
USER gridstream
ENTRYPOINT ["gridstream"]
CMD ["--help"]
