//! Whether a vendor checks credentials: the setting `auth`.

use serde::{Deserialize, Serialize};

/// `strict` or `off`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// As the real service checks them.
    #[default]
    Strict,
    /// Not at all: the caller is believed.
    Off,
}
