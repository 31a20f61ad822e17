//! `isolation = "tenant"`: each tenant of a vendor has a topic tree and client ids of its own.

use std::sync::Arc;

use mqttstack_base::exchange::Surface;

use super::dialect::Grant;
use super::{Isolation, Settings};

/// What an open client's user name begins with that chooses a tenant.
const CHOICE: &str = "tenant:";

/// Whose topic tree it is; the same for all where they share one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tenant(Option<Arc<str>>);

impl Tenant {
    /// The tree of what a vendor publishes for a tenant.
    pub(crate) fn of_vendor(
        settings: &Settings,
        vendor: Option<Surface>,
        tenant: Option<&str>,
    ) -> Self {
        if settings.isolation == Isolation::Shared {
            return Self::default();
        }
        let vendor = vendor.map_or("", Surface::as_str);
        let tenant = tenant.unwrap_or_default();
        Self(Some(format!("{vendor}/{tenant}").into()))
    }

    /// The tree of a client. An open client's grant names the vendor with the tenant.
    pub(crate) fn of_client(settings: &Settings, grant: &Grant) -> Self {
        if settings.isolation == Isolation::Shared {
            return Self::default();
        }
        match (grant.surface, grant.tenant.as_deref()) {
            (None, Some(chosen)) => Self(Some(chosen.into())),
            (surface, tenant) => Self::of_vendor(settings, surface, tenant),
        }
    }
}

/// The tenant that an open client chooses by its user name, as `<vendor>/<name>`. The error is
/// the reason why it is none.
pub(crate) fn chosen(
    settings: &Settings,
    username: Option<&str>,
) -> Result<Option<String>, String> {
    let choice = username.and_then(|username| username.strip_prefix(CHOICE));
    let Some(choice) = choice.filter(|_| settings.isolation == Isolation::Tenant) else {
        return Ok(None);
    };
    let vendor = choice.split_once('/').map(|(vendor, _)| vendor);
    let known = Surface::ALL.map(Surface::as_str);
    if vendor.is_some_and(|vendor| known.contains(&vendor)) {
        return Ok(Some(choice.to_owned()));
    }
    Err(format!(
        "the user name chooses the tenant {choice:?}, expected <vendor>/<name> with one of {}",
        known.join(", ")
    ))
}
