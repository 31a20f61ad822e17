//! The program `mqttstack`: a thin shell over the library. Continue at `cli/mod.rs`.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    mqttstack::cli::main()
}
