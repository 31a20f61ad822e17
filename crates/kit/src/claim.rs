//! How sure a row of a vendor's table is, and where it comes from.

use serde::Serialize;

/// How sure a claim is. It is of the answer that the row gives, not of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// A page, an API description or the source of the vendor says so.
    Documented,
    /// Seen in an answer of the real service, or quoted from one in public.
    Captured,
    /// A choice of ours where nothing is known.
    Assumed,
}

impl Standing {
    /// As the configuration, the documentation and the admin API spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Captured => "captured",
            Self::Assumed => "assumed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_has_one_spelling() {
        for standing in [Standing::Documented, Standing::Captured, Standing::Assumed] {
            assert_eq!(serde_json::to_value(standing).unwrap(), standing.as_str());
        }
    }
}
