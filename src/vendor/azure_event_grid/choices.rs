//! What the emulator does where the vendor's documents are silent or contradict one another, in
//! one table, so that a measurement of the live service finds the place to correct. The errors'
//! own table is in `error.rs`.

use super::error::Standing::{self, Assumed, Captured, Documented};

/// One choice.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Choice {
    /// What is chosen.
    pub what: &'static str,
    /// How sure it is.
    pub standing: Standing,
    /// The page or report it rests on.
    pub source: &'static str,
    /// The setting that changes it, if there is one.
    pub setting: Option<&'static str>,
}

const fn choice(
    what: &'static str,
    standing: Standing,
    source: &'static str,
    setting: Option<&'static str>,
) -> Choice {
    Choice {
        what,
        standing,
        source,
        setting,
    }
}

/// Every choice.
pub const CHOICES: [Choice; 47] = [
    choice(
        "an accepted HTTP publish is 202 with a routing topic, else 204",
        Assumed,
        "HOWTO: 204 or 202 depending on routing rules",
        Some("publish_status"),
    ),
    choice(
        "an invalid topic is 403, not 400",
        Documented,
        "HOWTO",
        None,
    ),
    choice(
        "errors have the shape and headers of the namespaces' data plane",
        Assumed,
        "SPEC",
        None,
    ),
    choice(
        "any api-version is taken",
        Assumed,
        "HTTP, HOWTO and RETAIN name three",
        Some("strict_parameters"),
    ),
    choice(
        "raw JSON user properties are taken with a warning",
        Assumed,
        "HOWTO's collection contradicts HTTP",
        Some("strict_parameters"),
    ),
    choice(
        "unknown mqtt- headers, bad base64 and bad flags are 400",
        Assumed,
        "none",
        None,
    ),
    choice(
        "+ in a query is a space, in mqtt-response-topic itself",
        Assumed,
        "RETAIN's example encodes it",
        None,
    ),
    choice(
        "a message expiry of zero never expires",
        Documented,
        "SUPPORT",
        None,
    ),
    choice(
        "an empty retained HTTP publish removes the message",
        Assumed,
        "RETAIN says so for MQTT",
        None,
    ),
    choice(
        "512 KB is the limit of the HTTP body",
        Assumed,
        "QUOTA23 does not say of what",
        Some("limits"),
    ),
    choice(
        "no session comes into being for an HTTP publisher",
        Assumed,
        "HOWTO uses the same id in a subscriber",
        None,
    ),
    choice(
        "a token's audience may be the resource, with a slash, or the namespace's host",
        Documented,
        "HOWTO, ENTRA, an older HOWTO",
        Some("strict_parameters"),
    ),
    choice(
        "tokens of users are taken beside those of applications",
        Assumed,
        "HOWTO uses az account get-access-token",
        None,
    ),
    choice(
        "retained reads need the subscriber role",
        Assumed,
        "RETAIN names no role",
        None,
    ),
    choice(
        "an unknown managed identity is 400, so that credential classes do not retry",
        Documented,
        "IMDS token reference",
        None,
    ),
    choice(
        "client assertions are not verified without an assertion_key",
        Assumed,
        "none",
        Some("principals.assertion_key"),
    ),
    choice(
        "a filter must lie wholly within a topic template",
        Assumed,
        "LOGS: does not match any topicspaces",
        None,
    ),
    choice(
        "without topic spaces every topic is allowed",
        Assumed,
        "none",
        Some("namespaces.topic_spaces"),
    ),
    choice(
        "payload format 1 without a JSON content type is text/plain with a string",
        Captured,
        "published output of the live service, 2024-11",
        None,
    ),
    choice(
        "payload format 0 is application/octet-stream with data_base64",
        Captured,
        "published output of the live service, 2024-11",
        None,
    ),
    choice(
        "at most 20 enrichments",
        Documented,
        "ENRICH (its prose says 10)",
        None,
    ),
    choice(
        "dead-lettered events go to a topic, with the vendor's metadata as attributes",
        Assumed,
        "dead letter page: blob storage",
        Some("subscriptions.dead_letter_topic"),
    ),
    choice(
        "session and client events go to a namespace topic",
        Assumed,
        "LIFE: a system topic",
        Some("namespaces.life_cycle_topic"),
    ),
    choice(
        "an event in binary mode keeps JSON as data, any other content becomes data_base64",
        Assumed,
        "CloudEvents 1.0, JSON format",
        None,
    ),
    choice(
        "what lacks id, source, type or specversion 1.0 is no CloudEvent and is wrapped",
        Assumed,
        "CloudEvents 1.0",
        None,
    ),
    choice(
        "user properties that no attribute can be called stay out of an event in binary mode",
        Assumed,
        "CloudEvents 1.0, naming",
        None,
    ),
    choice(
        "rates apply only on request; one caller's HTTP bandwidth has none (the page is cut off)",
        Assumed,
        "QUOTA, QUOTA23",
        Some("throughput_units"),
    ),
    choice(
        "a routing topic's resource id names a namespace topic by its last part",
        Assumed,
        "none",
        Some("namespaces.route_topic"),
    ),
    choice(
        "what a custom topic refuses with another 4xx is dropped, 408 is tried again",
        Assumed,
        "ROUTING names four errors",
        None,
    ),
    choice(
        "removing a resource that is not there is 204",
        Assumed,
        "resource manager conventions",
        None,
    ),
    choice(
        "failed lock tokens carry error.code and error.message",
        Captured,
        "azure-eventgrid 4.22.1; older samples differ",
        None,
    ),
    choice(
        "reason codes: not authorized 0x87, shared subscription 0x9E, filter 0x8F, topic 0x90, size 0x97",
        Assumed,
        "SUPPORT says only that the standard's are used",
        None,
    ),
    choice(
        "a publish without permission: PUBACK 0x87 on MQTT 5 with QoS 1, else the connection ends",
        Assumed,
        "TROUBLE",
        None,
    ),
    choice(
        "a token, certificate or webhook decision that expires ends its connection with 0x87",
        Assumed,
        "LIFE: ClientAuthenticationError, certificate expired",
        None,
    ),
    choice(
        "a token of another identity cannot renew a session: 0x87",
        Assumed,
        "none",
        None,
    ),
    choice(
        "a session too many is CONNACK 0x97, a session name of another client 0x87",
        Assumed,
        "SUPPORT: rejected with an unauthorized error (of the name)",
        None,
    ),
    choice(
        "a will delay above 300 s is CONNACK 0x83",
        Assumed,
        "SUPPORT names only the maximum",
        Some("limits"),
    ),
    choice(
        "a session whose queue holds more than 100 messages or 1 MiB of payload is terminated",
        Documented,
        "SUPPORT (of what the 1 MB is, is not said)",
        Some("limits"),
    ),
    choice(
        "a subscription that changed resources do not permit any more ends its session: DISCONNECT 0x87",
        Assumed,
        "METRICS: sessions are dropped for AuthorizationError",
        None,
    ),
    choice(
        "a 51st subscription of a session is SUBACK 0x97",
        Assumed,
        "QUOTA names only the number",
        Some("limits"),
    ),
    choice(
        "client group queries compare authentication names without case, attributes with",
        Assumed,
        "CLIENTS: authentication names have no case",
        None,
    ),
    choice(
        "of several names of a kind in a certificate, the one that a client has",
        Assumed,
        "none",
        Some("topic_spaces_configuration.clientAuthentication"),
    ),
    choice(
        "a publish over a size limit: 0x90 or 0x97 on MQTT 5, in PUBACK with QoS 1, in DISCONNECT with QoS 0; 3.1.1 is closed",
        Assumed,
        "none",
        Some("limits"),
    ),
    choice(
        "certificates must be within their validity, those of a thumbprint too",
        Assumed,
        "LIFE: certificate expired",
        None,
    ),
    choice(
        "the webhook is asked about clients that neither a token nor a client resource names",
        Assumed,
        "WEBHOOK does not say what comes first",
        Some("topic_spaces_configuration.clientAuthentication"),
    ),
    choice(
        "a webhook that does not answer within 5 s makes the server unavailable",
        Documented,
        "WEBHOOK: approximately 5 seconds",
        Some("webhook_timeout_ms"),
    ),
    choice(
        "a PUBACK of the client with a failure code ends the connection with 0x83",
        Assumed,
        "SUPPORT: the connection is terminated",
        None,
    ),
];
