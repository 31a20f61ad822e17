//! `NanoMQ`'s HTTP API, V1 and V4.
