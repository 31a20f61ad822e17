# syntax=docker/dockerfile:1
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked

# The program needs the C library and nothing else.
FROM debian:bookworm-slim
COPY --from=build /src/target/release/mqttstack /mqttstack
ENV MQTTSTACK_BIND=0.0.0.0
USER 65534:65534
EXPOSE 4580 4543 1883 8883 8083 8084
HEALTHCHECK --interval=5s --timeout=3s --start-period=1s CMD ["/mqttstack", "healthcheck"]
ENTRYPOINT ["/mqttstack"]
