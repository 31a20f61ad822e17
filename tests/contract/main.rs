//! The contract with the vendors: every file `fixtures/<vendor>/<operation>__<case>.json` is one
//! exchange and one test name for each way in which it is walked. What a file holds is in
//! `fixture.rs`, how it is walked as a value in `router.rs`. Answers are compared whole: the
//! clock and the ids are ours, so nothing is masked.

mod fixture;
mod router;

use std::path::Path;

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
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// One test for each way in which the exchange can be walked.
fn ways(file: &Path, name: &str) -> Vec<Trial> {
    let file = file.to_owned();
    vec![Trial::test(format!("{name}::router"), move || {
        let fixture = Fixture::read(&file)?;
        let seen = runtime()?.block_on(router::walk(&fixture))?;
        fixture.check(&seen).map_err(Failed::from)
    })]
}

/// The engine's tasks need more than the blocked thread.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
}
