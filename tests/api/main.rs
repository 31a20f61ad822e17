//! What the program promises, one module per kind of behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy exempts test functions, but not what they share"
)]

mod http1;
mod listeners;
