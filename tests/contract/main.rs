//! The contract with the vendors: every file `fixtures/<vendor>/<operation>__<case>.json` is one
//! exchange and one test name for each way in which it is walked. What a file holds is in
//! `fixture.rs`, how it is walked as a value in `router.rs`, over a connection in `socket.rs`.
//! Answers are compared whole: the clock and the ids are ours, so nothing is masked. Azure's, whose
//! tokens need an issuer, are in `azure.rs`.

mod azure;
mod fixture;
mod router;
mod socket;

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use fixture::Fixture;

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let trials = fixture::names(&root.join("aliyun"))
        .into_iter()
        .flat_map(|name| {
            let file = root.join("aliyun").join(format!("{name}.json"));
            ways(&file, &format!("aliyun::{name}"))
        })
        .chain(azure::trials())
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// One test for each way in which the exchange can be walked.
fn ways(file: &Path, name: &str) -> Vec<Trial> {
    let fixture = match Fixture::read(file) {
        Ok(fixture) => Arc::new(fixture),
        Err(problem) => return vec![Trial::test(name, move || Err(problem.into()))],
    };
    let socket = fixture.clone();
    let router = Trial::test(format!("{name}::router"), move || {
        let seen = runtime()?.block_on(router::walk(&fixture))?;
        fixture.check(&seen).map_err(Failed::from)
    });
    if !socket.has_way("socket") {
        return vec![router];
    }
    let socket = Trial::test(format!("{name}::socket"), move || {
        let seen = runtime()?.block_on(socket::walk(&socket))?;
        socket.check(&seen).map_err(Failed::from)
    });
    vec![router, socket]
}

/// The engine's tasks need more than the blocked thread.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}
