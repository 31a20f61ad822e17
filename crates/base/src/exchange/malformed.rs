//! What can be wrong with the bytes of a request, before any surface could read it. Each vendor
//! answers these in its own words (`From<Refusal>`).

/// What was wrong with the bytes of a request, before any vendor could read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// The request line or a header field is not HTTP/1. The text says what.
    Head(String),
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// The request target is longer than `limit` bytes.
    TargetTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head is longer than `limit` bytes.
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head did not arrive whole in time.
    HeadTimeout,
    /// `Content-Length` is not one non-negative number.
    ContentLength,
    /// A chunk header or trailer of a chunked body is broken.
    Chunk,
    /// The body is longer than `limit` bytes.
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive whole in time.
    BodyTimeout,
    /// The peer closed before the whole request had arrived.
    Truncated,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Head(what) => write!(f, "the request head is not HTTP/1: {what}"),
            Self::Version => f.write_str("the HTTP version is neither 1.0 nor 1.1"),
            Self::TargetTooLong { limit } => {
                write!(f, "the request target is longer than {limit} bytes")
            }
            Self::HeadTooLarge { limit } => {
                write!(f, "the request head is longer than {limit} bytes")
            }
            Self::HeadTimeout => f.write_str("the request head did not arrive in time"),
            Self::ContentLength => f.write_str("Content-Length is not one non-negative number"),
            Self::Chunk => f.write_str("the chunked body is broken"),
            Self::BodyTooLarge { limit } => {
                write!(f, "the request body is longer than {limit} bytes")
            }
            Self::BodyTimeout => f.write_str("the request body did not arrive in time"),
            Self::Truncated => f.write_str("the peer closed before the whole request had arrived"),
        }
    }
}
