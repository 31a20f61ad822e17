//! What several vendors need and no crate gives whole. Nothing here knows a vendor: each vendor
//! says its own errors about what it reads with these.
//!
//! - [`form`]: queries, forms and percent escapes
//! - [`hex`]: hexadecimal digits
//! - [`claim`]: how sure a row of a table is
//! - [`auth`]: whether credentials are checked
//! - [`wording`]: what the readers of JSON and TOML say of a wrong document

pub mod auth;
pub mod claim;
pub mod form;
pub mod hex;
pub mod wording;
