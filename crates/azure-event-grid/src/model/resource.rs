//! The shape that all children of a namespace have in a template: a name and properties.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

/// A property of the template that the emulator passes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassedOver;

impl<'de> Deserialize<'de> for PassedOver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A named child resource of a namespace.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(
    from = "Pasted<P>",
    bound(deserialize = "P: Default + Deserialize<'de>")
)]
pub struct Resource<P> {
    /// Its name; of `namespace/clients/name` the last part.
    pub name: String,
    /// Its properties.
    pub properties: P,
}

/// A resource as it stands in a template or in an answer of the resource manager.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the members that are passed over")]
struct Pasted<P> {
    name: String,
    #[serde(default)]
    properties: P,
    #[serde(default)]
    r#type: PassedOver,
    #[serde(default)]
    api_version: PassedOver,
    #[serde(default)]
    id: PassedOver,
    #[serde(default)]
    system_data: PassedOver,
    #[serde(default)]
    depends_on: PassedOver,
}

impl<P> From<Pasted<P>> for Resource<P> {
    fn from(pasted: Pasted<P>) -> Self {
        Self {
            name: pasted.name,
            properties: pasted.properties,
        }
    }
}

impl<P> Resource<P> {
    /// The last part of the name.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Whether this is its name; names of resources have no case.
    pub fn is_called(&self, name: &str) -> bool {
        self.short_name().eq_ignore_ascii_case(name)
    }
}
