//! What every request goes through, whosever it is: [`run`] walks it, a [`Vendor`] says what the
//! walk asks, [`journal`] writes down what happened and decides nothing, [`Quotas`] keeps callers
//! to their rates. [`App`] is what one emulator has of all that, its broker, clock and ids included.

mod app;
pub mod journal;
mod quota;
mod walk;

pub use app::App;
pub use quota::Quotas;
pub use walk::{Charge, REQUEST_ID, Vendor, Walk, logged, run, run_until};
