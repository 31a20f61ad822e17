//! Whose a message is, for the vendors that answer for the messages of an instance.

use mqttstack_base::exchange::Surface;

use crate::Isolation;
use crate::message::Message;

/// Who answers for a message, as one vendor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The tenant of the vendor in which it was published.
    Tenant(&'a str),
    /// Every tenant: an open client has published it, or whoever is of no vendor.
    Everybody,
    /// Another vendor.
    Others,
}

impl<'a> Owner<'a> {
    /// Who answers for a message that an outlet took with this tenant. Open clients are
    /// everybody's, as they are in the vendors' lists of clients, where the tenants share one
    /// topic tree; where they do not, an open client's tenant names its vendor.
    pub fn of(
        vendor: Surface,
        isolation: Isolation,
        message: &Message,
        tenant: Option<&'a str>,
    ) -> Self {
        match message.origin.vendor {
            Some(surface) if surface == vendor => tenant.map_or(Self::Everybody, Self::Tenant),
            Some(_) => Self::Others,
            None => match tenant.and_then(|tenant| tenant.split_once('/')) {
                Some((surface, name)) if surface == vendor.as_str() => Self::Tenant(name),
                None if isolation == Isolation::Shared => Self::Everybody,
                _ => Self::Others,
            },
        }
    }
}
