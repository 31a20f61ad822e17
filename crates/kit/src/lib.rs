//! What several vendors need and no crate gives whole. Nothing here knows a vendor: each vendor
//! says its own errors about what it reads with these.
//!
//! - [`form`]: queries, forms and percent escapes
//! - [`hex`]: hexadecimal digits
//! - [`claim`]: how sure a row of a table is
//! - [`auth`]: whether credentials are checked
//! - [`key`]: keys that signatures are verified with
//! - [`token`]: signed tokens, and the memory of those that were verified
//! - [`key_set`]: the keys of issuers outside
//! - [`outbound`]: calls that the emulator itself makes
//! - [`x509`]: certificates of clients
//! - [`wording`]: what the readers of JSON and TOML say of a wrong document

pub mod auth;
pub mod claim;
pub mod form;
pub mod hex;
pub mod key;
pub mod key_set;
pub mod outbound;
pub mod token;
pub mod wording;
pub mod x509;
