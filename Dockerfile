# syntax=docker/dockerfile:1

# The dependencies are a layer of their own: `plan` reduces the sources to the list of them
# (recipe.json), so that `cook` runs again only after a change of Cargo.toml or Cargo.lock.
FROM rust:1.95-slim-bookworm AS chef
RUN cargo install cargo-chef --version 0.1.78 --locked
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json

FROM chef AS build
COPY --from=plan /recipe.json /recipe.json
RUN cargo chef cook --profile dist --locked --recipe-path /recipe.json
COPY . .
RUN cargo build --profile dist --locked

# The program needs the C library and nothing else.
FROM debian:bookworm-slim
COPY --from=build /src/target/dist/mqttstack /mqttstack
ENV MQTTSTACK_BIND=0.0.0.0
USER 65534:65534
EXPOSE 4580 4543 1883 8883 8083 8084
HEALTHCHECK --interval=5s --timeout=3s --start-period=1s CMD ["/mqttstack", "healthcheck"]
ENTRYPOINT ["/mqttstack"]
