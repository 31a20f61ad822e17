//! What the emulator does where the vendor's documents are silent or contradict one another, in
//! one table, so that a measurement of the live service finds the place to correct. The errors'
//! own table is in `error.rs`.

use mqttstack_kit::claim::Standing::{self, Assumed, Captured, Documented};

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
pub const CHOICES: &[Choice] = &[
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
        "rates apply only on request",
        Assumed,
        "includes/limits.md (2025-07-30), where it says less that of 2023-11-15",
        Some("throughput_units"),
    ),
    choice(
        "of one session: 512 KB a second over HTTP, 1,000 PUBLISH and 1 MB, 5 SUBSCRIBE or UNSUBSCRIBE, 1 CONNECT over MQTT",
        Documented,
        "includes/limits.md (2025-07-30)",
        Some("throughput_units"),
    ),
    choice(
        "SUBSCRIBE and UNSUBSCRIBE of a session are counted together",
        Assumed,
        "includes/limits.md (2025-07-30) names both in one row",
        Some("throughput_units"),
    ),
    choice(
        "over a rate: PUBACK and SUBACK 0x97, UNSUBACK 0x83, CONNACK 0x9F; a publisher that cannot be told so is disconnected with 0x97",
        Assumed,
        "LIFE: QuotaExceeded",
        Some("throughput_units"),
    ),
    choice(
        "a retained publish is two operations, over MQTT too; HTTP publishes count toward the namespace's rate over MQTT",
        Documented,
        "RETAIN (2025-12-16), HTTP (2025-07-30)",
        Some("throughput_units"),
    ),
    choice(
        "1,000 PUBLISH of a client may be under way (Receive Maximum)",
        Documented,
        "includes/limits.md (2025-07-30)",
        Some("limits"),
    ),
    choice(
        "16 unacknowledged deliveries of a client",
        Documented,
        "TROUBLE; includes/limits.md (2025-07-30) says 100",
        Some("outbound_in_flight"),
    ),
    choice(
        "10,000 retained messages per throughput unit; one more is PUBACK 0x97, over HTTP 403",
        Documented,
        "includes/limits.md (2025-07-30); the codes are assumed",
        Some("throughput_units"),
    ),
    choice(
        "a retained message of 3.1.1 expires after 365 days, a longer expiry of MQTT 5 and HTTP is lowered to that",
        Documented,
        "includes/limits.md (2025-07-30); that it is lowered is assumed",
        Some("limits"),
    ),
    choice(
        "shared subscriptions are there for MQTT 5; a client of 3.1.1 that asks for one is disconnected",
        Documented,
        "mqtt-shared-subscriptions (2026-05-07)",
        None,
    ),
    choice(
        "the filter behind $share/{group}/ has the limits and needs the permission of a plain one",
        Assumed,
        "none",
        None,
    ),
    choice(
        "subscription identifiers are taken",
        Documented,
        "the vendor's blog; SUPPORT (2025-07-30) says they are not",
        Some("subscription_identifiers"),
    ),
    choice(
        "a will on a topic that the client may not publish to is CONNACK 0x87",
        Assumed,
        "a public report of a disconnected client (2026-11), whose cause is not certain",
        None,
    ),
    choice(
        "a retained list without topicFilter and continuationToken is 400; times are whole seconds",
        Documented,
        "RETAIN (api 2025-11-16-preview)",
        None,
    ),
    choice(
        "a shared access signature is for its path and what is below it, on the host that is asked or the namespace's",
        Assumed,
        "authenticate-with-access-keys-shared-access-signatures says: the path of the topic",
        None,
    ),
    choice(
        "of a namespace topic's own keys each opens that topic alone",
        Assumed,
        "none",
        Some("topics.key"),
    ),
    choice(
        "a custom token needs typ and alg; its kid names the only certificate that counts; certificates without a name count for every kid",
        Documented,
        "oauth-json-web-token-authentication (2025-04-30); the last is assumed",
        Some("topic_spaces_configuration.clientAuthentication"),
    ),
    choice(
        "clientCertificateAuthentication is demanded of what is put, in the configuration it may be left out",
        Documented,
        "CLIENTS; the second is assumed",
        None,
    ),
    choice(
        "names of clients have 1 to 128 letters, digits and - : . _, of groups and topic spaces 3 to 50 letters, digits and -",
        Documented,
        "mqtt-clients, mqtt-client-groups, mqtt-topic-spaces",
        None,
    ),
    choice(
        "properties that are not emulated are passed over, and the journal names them",
        Assumed,
        "none",
        None,
    ),
    choice(
        "a deployed resource of a namespace that is not there is put into the first one",
        Assumed,
        "none: a template is tried as it is",
        None,
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
        "reason codes: not authorized 0x87, filter 0x8F, topic 0x90, size 0x97",
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
        "a session too many is CONNACK 0x97",
        Captured,
        "azure-iot-ops-cli-extension, pull request 809",
        None,
    ),
    choice(
        "a session name of another client is CONNACK 0x87",
        Documented,
        "SUPPORT: rejected with an unauthorized error; the code is assumed",
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
    choice(
        "a topic, an event subscription or an event more than a namespace may keep is 403 QuotaExceeded, of receive as of publish",
        Assumed,
        "SDK reference of send: 403 for a quota; of the other calls nothing is said",
        Some("max_topics, max_event_subscriptions, max_event_bytes"),
    ),
    choice(
        "a session more than a namespace may have is refused with 0x97",
        Captured,
        "azure-iot-ops-cli-extension PR 809, of the sessions of one name",
        Some("max_sessions"),
    ),
    choice(
        "an HTTP publish that cannot be routed is 500, and nobody gets the message",
        Assumed,
        "HOWTO: 500 where routing failed; whether subscribers have the message is not said",
        None,
    ),
    choice(
        "an MQTT message that cannot be routed is acknowledged like any other",
        Documented,
        "ROUTING: the publisher is not told",
        None,
    ),
];
