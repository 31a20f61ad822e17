//! Attributes of clients, and whom templates, queries and enrichments ask about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A client attribute: a string, an integer or an array of strings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "an attribute is a string, an integer or an array of strings"
)]
pub enum Attribute {
    /// An integer.
    Integer(i64),
    /// A string.
    Text(String),
    /// An array of strings.
    List(Vec<String>),
}

/// The attributes that a client's groups are asked about.
pub(crate) type Attributes = BTreeMap<String, Attribute>;

/// Whom variables are filled in for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    /// The authentication name; of an Entra identity its object id.
    pub authentication_name: &'a str,
    /// The client's attributes, if it has a resource or a custom token.
    pub attributes: Option<&'a BTreeMap<String, Attribute>>,
}

/// Whether an attribute can have this key.
pub(crate) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
