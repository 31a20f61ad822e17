//! How TDMQ for MQTT refuses: one [`Error`] here, one table of [`Row`]s and one [`render`] in
//! `table.rs`.
//! Over the data plane an error is a status code; over the cloud API it is a code and a message
//! in an answer of status 200 (the SDKs drop the body of any other status). Most of the data
//! plane's status codes are documented nowhere: their rows say so, and one line corrects each.

mod table;

use mqttstack_base::exchange::Refusal;
use mqttstack_tencent_cloud_api::Tc3Error;

pub use self::table::Row;
pub(crate) use self::table::render;

/// By which of the two ways a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// `/topics/{topic}`, `/client-id/{id}/status` and `/keep-alive`.
    Data,
    /// `/` with `X-TC-Action`.
    Cloud,
}

/// What the cloud API did not find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A cluster.
    Instance,
    /// A first-level topic.
    Topic,
    /// A user.
    Username,
    /// An authorization policy.
    AuthorizationPolicy,
    /// A message.
    Message,
    /// A connected client or its session.
    Client,
    /// A token authenticator.
    Authenticator,
}

impl Resource {
    const fn word(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Topic => "topic",
            Self::Username => "user",
            Self::AuthorizationPolicy => "authorization policy",
            Self::Message => "message",
            Self::Client => "client",
            Self::Authenticator => "authenticator",
        }
    }
}

/// Everything that TDMQ for MQTT refuses. Its text is the journal's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such path on the data plane.
    #[error(
        "{0:?} is no path of the data plane: it has /topics/{{topic}}, /client-id/{{id}}/status and /keep-alive"
    )]
    Path(String),
    /// The path exists, the method does not.
    #[error("{method} is not allowed here: use {allow}")]
    Method {
        /// What came.
        method: String,
        /// What the path takes.
        allow: &'static str,
    },
    /// The topic in the path is not a topic name.
    #[error("the topic name cannot be published to: {0}")]
    Topic(String),
    /// A query parameter has a value that it cannot have.
    #[error("parameter {name}: {problem}")]
    Parameter {
        /// The parameter as documented.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `UserProp.N.Key` without `UserProp.N.Value`, or the other way round.
    #[error("UserProp.{n}.{present} came without UserProp.{n}.{missing}")]
    UnpairedUserProperty {
        /// The number.
        n: u32,
        /// The half that came.
        present: &'static str,
        /// The half that did not.
        missing: &'static str,
    },
    /// The payload is larger than the instance takes.
    #[error("the payload has {size} bytes, the limit is {limit}")]
    PayloadTooLarge {
        /// Bytes that came.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Neither an `Authorization` field nor a client certificate.
    #[error("{0}")]
    NoCredentials(String),
    /// The `Authorization` field is no Basic credential.
    #[error("the Authorization field is not usable: {0}")]
    BadCredentials(&'static str),
    /// User or password is wrong.
    #[error("{0}")]
    WrongCredentials(String),
    /// The client certificate was not issued by a configured authority, or has no usable name.
    #[error("the client certificate is refused: {0}")]
    Certificate(String),
    /// The authorization policies say no.
    #[error("{0}")]
    Denied(String),
    /// The client whose keep-alive is to be changed is not connected.
    #[error("MQTT client {0:?} is not connected")]
    ClientOffline(String),
    /// The client whose keep-alive is to be changed connected with 0.
    #[error("MQTT client {0:?} connected with keep-alive 0, which cannot be changed")]
    NoKeepAlive(String),

    /// Refused by the cloud API's front door: signature, headers, action, version, body.
    #[error("{0}")]
    FrontDoor(Tc3Error),
    /// A required parameter is missing.
    #[error("The request is missing the parameter `{0}`.")]
    Missing(&'static str),
    /// A parameter that the action does not have.
    #[error("The parameter `{0}` is not recognized.")]
    Unknown(String),
    /// A parameter has a value of another kind.
    #[error("The value type of the parameter `{name}` is not valid: it should be {wanted}.")]
    Kind {
        /// The parameter.
        name: &'static str,
        /// The kind it should have.
        wanted: &'static str,
    },
    /// A parameter has a value that it cannot have.
    #[error("The parameter `{name}` is not valid: {problem}.")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It does not exist.
    #[error("The {} {name:?} does not exist.", .resource.word())]
    NotFound {
        /// What kind of thing.
        resource: Resource,
        /// Its name or id.
        name: String,
    },
    /// A user or topic of this name exists.
    #[error("The {} {name:?} exists already.", .resource.word())]
    Exists {
        /// What kind of thing.
        resource: Resource,
        /// Its name.
        name: String,
    },
    /// A policy of this name exists.
    #[error("An authorization policy named {0:?} exists already.")]
    DuplicatePolicy(String),
    /// Another policy has this priority.
    #[error("The priority {0} is taken by another authorization policy.")]
    DuplicatePriority(i64),
    /// The client is not subscribed to this filter.
    #[error("The client {client_id:?} is not subscribed to {filter:?}.")]
    NotSubscribed {
        /// The client.
        client_id: String,
        /// The filter.
        filter: String,
    },
    /// The broker did not let the client subscribe: the policies, the client's limits, or it has
    /// gone.
    #[error("The client {client_id:?} could not be subscribed to {filter:?}.")]
    SubscriptionRefused {
        /// The client.
        client_id: String,
        /// The filter.
        filter: String,
    },
    /// The instance has its number of topics.
    #[error("The instance has its limit of {0} topics.")]
    TooManyTopics(usize),
    /// The action exists, this use of it does not.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A jq filter with more than the conditions that are evaluated here.
    #[error("This emulator evaluates conditions of jq alone: {0}.")]
    Condition(String),
    /// Raised by a shared room.
    #[error("{0}")]
    Shared(Refusal),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Shared(refusal)
    }
}

impl From<Tc3Error> for Error {
    fn from(error: Tc3Error) -> Self {
        Self::FrontDoor(error)
    }
}

impl Error {
    /// One of each, for the test that walks the table.
    pub fn all() -> Vec<Self> {
        let text = String::new;
        vec![
            Self::Path(text()),
            Self::Method {
                method: text(),
                allow: "POST",
            },
            Self::Topic(text()),
            Self::Parameter {
                name: text(),
                problem: text(),
            },
            Self::UnpairedUserProperty {
                n: 1,
                present: "Key",
                missing: "Value",
            },
            Self::PayloadTooLarge { size: 2, limit: 1 },
            Self::NoCredentials(text()),
            Self::BadCredentials(""),
            Self::WrongCredentials(text()),
            Self::Certificate(text()),
            Self::Denied(text()),
            Self::ClientOffline(text()),
            Self::NoKeepAlive(text()),
            Self::FrontDoor(Tc3Error::TokenFailure),
            Self::Missing(""),
            Self::Unknown(text()),
            Self::Kind {
                name: "",
                wanted: "",
            },
            Self::Value {
                name: "",
                problem: text(),
            },
            Self::NotFound {
                resource: Resource::Topic,
                name: text(),
            },
            Self::Exists {
                resource: Resource::Topic,
                name: text(),
            },
            Self::DuplicatePolicy(text()),
            Self::DuplicatePriority(1),
            Self::NotSubscribed {
                client_id: text(),
                filter: text(),
            },
            Self::SubscriptionRefused {
                client_id: text(),
                filter: text(),
            },
            Self::TooManyTopics(1),
            Self::Unsupported(""),
            Self::Condition(text()),
            Self::Shared(Refusal::Internal(text())),
        ]
    }
}
