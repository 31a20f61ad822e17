//! The program (being written).
fn main() {}
