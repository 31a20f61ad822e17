//! `isolation = "tenant"`: inside the engine every topic stands below its tenant, and below
//! nothing outside. A topic that begins with `$` stays one that does: a leading wildcard must
//! not match it (MQTT 5.0 section 4.7.2). The mark cannot come from a client of another tenant:
//! what a client sends is always put below its own.

use std::borrow::Cow;

use bytestring::ByteString;

use super::super::dialect::{Grant, Peer};
use super::super::{Isolation, SYSTEM_PREFIX};
use super::{Core, subscriptions};
use crate::exchange::Surface;

/// Begins the level that names a tenant.
const MARK: char = '\u{1}';
/// What an open client's user name begins with that chooses a tenant.
const CHOICE: &str = "tenant:";

/// One tenant's part of the topic tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope(String);

impl Scope {
    fn new(vendor: &str, tenant: &str) -> Self {
        let level = format!("{vendor}:{tenant}");
        // A level cannot hold these; no tenant's name holds what stands for them.
        let level = level
            .replace('/', "\u{2}")
            .replace('+', "\u{3}")
            .replace('#', "\u{4}");
        Self(format!("{MARK}{level}"))
    }

    /// The scope of what a vendor publishes for a tenant; `None` where all share one tree.
    pub(super) fn of_vendor(
        core: &Core,
        vendor: Option<Surface>,
        tenant: Option<&str>,
    ) -> Option<Self> {
        let vendor = vendor.map_or("", Surface::as_str);
        (core.settings.isolation == Isolation::Tenant)
            .then(|| Self::new(vendor, tenant.unwrap_or_default()))
    }

    /// The scope of a client; `None` where all share one tree.
    pub(super) fn of_client(core: &Core, peer: &Peer) -> Option<Self> {
        let Grant {
            surface, tenant, ..
        } = &*peer.grant;
        match (surface, tenant.as_deref().and_then(|t| t.split_once('/'))) {
            (None, Some((vendor, name))) => {
                (core.settings.isolation == Isolation::Tenant).then(|| Self::new(vendor, name))
            }
            _ => Self::of_vendor(core, *surface, tenant.as_deref()),
        }
    }

    /// A topic name as it stands in the engine.
    pub(super) fn topic(&self, topic: &str) -> ByteString {
        match topic.strip_prefix('$') {
            Some(rest) => format!("${}/{rest}", self.0).into(),
            None => format!("{}/{topic}", self.0).into(),
        }
    }

    /// A topic filter as it stands in the engine. The broker's own figures are everybody's.
    pub(super) fn filter(&self, filter: &str) -> ByteString {
        if filter.starts_with(SYSTEM_PREFIX) {
            return filter.into();
        }
        self.topic(filter)
    }
}

/// A topic name or filter of the engine as clients know it.
pub(super) fn bare(topic: &str) -> Cow<'_, str> {
    let (_, topic) = subscriptions::parts(topic);
    let (dollar, below) = match topic.strip_prefix('$') {
        Some(rest) => ("$", rest),
        None => ("", topic),
    };
    match below
        .strip_prefix(MARK)
        .and_then(|rest| rest.split_once('/'))
    {
        Some((_, own)) if dollar.is_empty() => Cow::Borrowed(own),
        Some((_, own)) => Cow::Owned(format!("${own}")),
        None => Cow::Borrowed(topic),
    }
}

/// The tenant that an open client chooses by its user name, as `<vendor>/<name>`. The error is
/// the reason why it is none.
pub(super) fn chosen(core: &Core, username: Option<&str>) -> Result<Option<String>, String> {
    let choice = username.and_then(|username| username.strip_prefix(CHOICE));
    let Some(choice) = choice.filter(|_| core.settings.isolation == Isolation::Tenant) else {
        return Ok(None);
    };
    let vendor = choice.split_once('/').map(|(vendor, _)| vendor);
    let known = Surface::ALL.map(Surface::as_str);
    if vendor.is_some_and(|vendor| known.contains(&vendor)) {
        return Ok(Some(choice.to_owned()));
    }
    Err(format!(
        "the user name chooses the tenant {choice:?}, expected is <vendor>/<name> with one of {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_below_a_tenant_comes_out_as_it_went_in() {
        let scope = Scope::new("aliyun", "a/b#");
        for topic in ["t", "/t", "a/b/", "$own/t", "$", "#", "+/t"] {
            let inside = scope.filter(topic);
            assert_ne!(&*inside, topic);
            assert_eq!(inside.starts_with('$'), topic.starts_with('$'));
            assert_eq!(bare(&inside), topic);
            assert_eq!(bare(topic), topic);
        }
        assert_eq!(scope.topic("t"), "\u{1}aliyun:a\u{2}b\u{4}/t");
        assert_eq!(scope.filter("$SYS/#"), "$SYS/#");
    }
}
