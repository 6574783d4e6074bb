# syntax=docker/dockerfile:1
# The gateway alone, as a static binary. docs/guides/deployment.md says how to build and run it.
# `dist/build` makes the same image without a container engine.

FROM rust:1.90-slim-bookworm AS build
# `dist` takes 10 to 20 minutes; `release` takes a third of that, for an image to try.
ARG PROFILE=dist
RUN apt-get update \
 && apt-get install -y --no-install-recommends binutils ca-certificates gcc libc6-dev make \
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
    target=$(rustc -vV | sed -n 's/^host: //p') \
 && export RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"' \
 && cargo build --locked --profile "$PROFILE" --target "$target" --bin llm-proxy \
 && install -d /image/data /image/etc/ssl/certs /image/usr/bin \
 && install -d -m 1777 /image/tmp \
 && objcopy --strip-all "target/$target/$PROFILE/llm-proxy" /image/usr/bin/llm-proxy \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
 && echo 'root:x:0:0:root:/:/sbin/nologin' > /image/etc/passwd \
 && echo 'llm-proxy:x:10001:10001::/data:/sbin/nologin' >> /image/etc/passwd \
 && printf 'root:x:0:\nllm-proxy:x:10001:\n' > /image/etc/group

FROM scratch
COPY --from=build /image /
COPY --from=build --chown=10001:10001 /image/data /data
USER 10001:10001
WORKDIR /data
ENV PATH=/usr/bin DATA_DIR=/data HOST=0.0.0.0 PORT=18000
VOLUME /data
EXPOSE 18000
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["llm-proxy", "health"]
ENTRYPOINT ["llm-proxy"]
CMD ["serve"]
