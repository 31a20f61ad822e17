//! The contract with the vendors: exchanges with a started emulator, each one test. They are
//! derived from the tables in `fixtures/<vendor>/*.toml` and from tables here, which state what the
//! vendors' pages say; requests are signed by the tests' own signers (`sign.rs`) or were recorded
//! from the vendors' SDKs. `exchange.rs` walks an exchange over a socket and compares it whole.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod aliyun;
mod azure;
mod exchange;
mod handed;
mod rows;
mod sign;
mod tencent_iot;
mod tencent_tdmq;

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};
use serde::de::DeserializeOwned;

use exchange::{Exchange, Site};

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        aliyun::trials(),
        azure::trials(),
        tencent_iot::trials(),
        tencent_tdmq::trials(),
    ];
    let signers = Trial::test(
        "the_signers_make_recorded_signatures_again",
        sign::recorded_signatures,
    );
    let trials = trials.into_iter().flatten().chain([signers]).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// A table in `fixtures/`.
fn table<T: DeserializeOwned>(name: &str) -> T {
    toml::from_str(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file in `fixtures/`.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The test of an exchange.
fn trial(vendor: &str, site: Site, exchange: Exchange) -> Trial {
    let name = format!("{vendor}::{}", exchange.name);
    Trial::test(name, move || {
        let walked = runtime()?.block_on(site.walk(&exchange));
        walked.map_err(Failed::from)
    })
}

/// The emulator's tasks need more than the blocked thread.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}
