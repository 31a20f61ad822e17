//! The program `mqttstack`: a thin shell over the library. Continue at `cli/mod.rs`.

fn main() -> std::process::ExitCode {
    mqttstack::cli::main()
}
