//! What the program promises, one module per kind of behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod admin;
mod broker;
mod clock;
mod config;
mod container;
mod dialect;
mod edge;
mod http1;
mod journal;
mod layers;
mod listeners;
mod mqtt;
mod panel;
mod process;
mod program;
mod raw;
mod shutdown;
