//! What several vendors need and no crate gives whole. Nothing here knows a vendor: each vendor
//! says its own errors about what it reads with these.
//!
//! - [`wording`]: what the readers of JSON and TOML say of a wrong document

pub mod wording;
