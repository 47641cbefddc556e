# castd in a container, on any architecture Python's image has; docs/deploy.md says how to run it.

FROM python:3.11-slim AS build
# PyAV for levels and renditions; empty where there is no wheel of it, as on 32-bit ARM.
ARG EXTRAS=levels,transcode
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY castd castd
COPY web web
COPY etc/castd.toml etc/castd.toml
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .
RUN python -m venv --without-pip /opt/castd \
    && pip --python /opt/castd/bin/python install --no-cache-dir --constraint constraints.txt \
        "$(echo /dist/castd-*.whl)${EXTRAS:+[$EXTRAS]}"

FROM python:3.11-slim
LABEL org.opencontainers.image.title="castd" \
      org.opencontainers.image.description="A live-audio streaming server, compatible with Icecast" \
      org.opencontainers.image.licenses="GPL-2.0-or-later"
# Xiph's libraries, by which pyogg decodes Opus and Vorbis, to tell how loud they are.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libopusfile0 libvorbisfile3 \
    && rm -rf /var/lib/apt/lists/*
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/castd
COPY --from=build /opt/castd /opt/castd
# The state directory is all that castd writes to: the root file system may be read-only.
ENV PATH=/opt/castd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CASTD_SERVER__STATE_DIR=/var/lib/castd
VOLUME /var/lib/castd
EXPOSE 8000
# A number, which Kubernetes can tell from root.
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["castd", "healthcheck"]
ENTRYPOINT ["castd"]
CMD ["run"]
