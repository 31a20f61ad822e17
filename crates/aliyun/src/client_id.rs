//! The product's client ids: `GroupID@@@DeviceID`, at most 64 characters in all.

/// How long a client id may be, in characters (documented: Limits).
pub(super) const MAX_CHARS: usize = 64;

/// What stands between group and device.
pub(super) const SEPARATOR: &str = "@@@";

/// A client id of the product's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientId<'a> {
    /// The group id.
    pub(super) group: &'a str,
    /// The device id.
    pub(super) device: &'a str,
}

impl<'a> ClientId<'a> {
    /// Checks a client id; the error says what is wrong with it.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let chars = text.chars().count();
        if chars > MAX_CHARS {
            return Err(format!(
                "the client id has {chars} characters, {MAX_CHARS} are allowed"
            ));
        }
        let Some((group, device)) = text.split_once(SEPARATOR) else {
            return Err(format!(
                "client id {text:?} is not of the form GroupID@@@DeviceID"
            ));
        };
        if group.is_empty() || device.is_empty() {
            return Err(format!(
                "client id {text:?} has no group or no device beside @@@"
            ));
        }
        Ok(Self { group, device })
    }
}

/// What is wrong with a group id, if anything: 7 to 64 characters, `GID_` or `GID-` first, then
/// letters, digits, `-` and `_` (documented: `CreateGroupId`).
pub(super) fn group_problem(id: &str) -> Option<&'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !id.starts_with("GID_") && !id.starts_with("GID-") {
        Some("a group id begins with GID_ or GID-")
    } else if !(7..=64).contains(&id.len()) {
        Some("a group id has 7 to 64 characters")
    } else if !id.bytes().all(plain) {
        Some("a group id has letters, digits, - and _ only")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_has_a_group_and_a_device_and_64_characters_at_most() {
        let id = ClientId::parse("GID_test@@@设备1").unwrap();
        assert_eq!((id.group, id.device), ("GID_test", "设备1"));
        assert!(ClientId::parse(&format!("GID_test@@@{}", "设".repeat(53))).is_ok());
        for bad in [
            "GID_test",
            "@@@d",
            "GID_test@@@",
            &format!("GID_test@@@{}", "d".repeat(54)),
        ] {
            assert!(ClientId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn group_ids_have_the_vendors_prefix_and_length() {
        for good in ["GID_abc", "GID-a_1", &format!("GID_{}", "a".repeat(60))] {
            assert_eq!(group_problem(good), None, "{good}");
        }
        for bad in [
            "GID_ab",
            "gid_abc",
            "GID_a b",
            &format!("GID_{}", "a".repeat(61)),
        ] {
            assert!(group_problem(bad).is_some(), "{bad}");
        }
    }
}
