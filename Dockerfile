# syntax=docker/dockerfile:1
# docs/guides/deployment.md tells how to build and run it.

FROM rust:1.90-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates crates
COPY src src
COPY migrations migrations
# Nothing of these two is built; the manifest names their files.
COPY benches benches
COPY tests tests
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin llm-proxy \
 && cp target/release/llm-proxy /llm-proxy

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin llm-proxy \
 && install -d -o 10001 -g 10001 /data
COPY --from=build /llm-proxy /usr/local/bin/llm-proxy
USER 10001
WORKDIR /data
ENV DATA_DIR=/data HOST=0.0.0.0 PORT=18000
VOLUME /data
EXPOSE 18000
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["llm-proxy", "health"]
ENTRYPOINT ["llm-proxy"]
CMD ["serve"]
