//! The data plane: `POST /topics/{topic}`, `GET|POST /client-id/{id}/status`, `POST /keep-alive`.
//! Every call is a CONNECT of its own, a publish a PUBLISH besides, and all that is authorized. What
//! the query may say is in `query.rs`; the cloud API is in `cloud/`.
//!
//! Sources: tencentcloud.com/document/product/1294/76451 (publish); cloud.tencent.com/document/
//! product/1778/115657 (2025-09-30, status: 200 with `online`, 401, 403 without CONNECT, 429);
//! 1778/126246 (2025-12-09) and tencentcloud.com/document/product/1294/76754 (2026-04-01,
//! keep-alive).

use std::sync::Arc;

use mqttstack_base::exchange::{Answer, Request, Surface};
use mqttstack_base::message::{Origin, OriginKind, Publication, TopicName};
use mqttstack_broker::KeepAliveChange;
use mqttstack_kit::auth::AuthMode;
use mqttstack_kit::form;
use mqttstack_pipeline::Walk;
use serde_json::json;

use super::TencentTdmq;
use super::auth::{self, Credentials, Presented, Trusted};
use super::error::Error;
use super::policy::{self, Operation, Subject};
use super::query::{self, Parameters};
use super::settings::AUTH_OFF;
use super::store::Instance;

/// The operation's name in journal, quotas and faults.
pub(super) const PUBLISH: &str = "Publish";
/// The operation's name in journal, quotas and faults.
pub(super) const CLIENT_STATUS: &str = "ClientStatus";
/// The operation's name in journal, quotas and faults.
pub(super) const KEEP_ALIVE: &str = "KeepAlive";

/// A publish that was understood and allowed.
#[derive(Debug)]
pub struct Publish {
    instance: Arc<Instance>,
    publication: Publication,
}

/// A status query that was understood and allowed.
#[derive(Debug)]
pub struct ClientStatus {
    /// Whose rate it counts against.
    pub instance: Arc<Instance>,
    client_id: String,
}

impl Publish {
    /// Whose rate it counts against.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }
}

/// A change of a client's keep-alive that was understood and allowed.
#[derive(Debug)]
pub struct KeepAlive {
    /// Whose rate it counts against.
    pub instance: Arc<Instance>,
    client_id: String,
    /// In seconds.
    interval: u16,
}

enum Route {
    Topic(String),
    Status(String),
    KeepAlive,
}

/// What a request to the data plane asks for.
#[derive(Debug)]
pub enum DataCall {
    /// `POST /topics/{topic}`.
    Publish(Box<Publish>),
    /// `GET|POST /client-id/{id}/status`.
    ClientStatus(ClientStatus),
    /// `POST /keep-alive`.
    KeepAlive(KeepAlive),
}

fn route(request: &Request) -> Result<Route, Error> {
    let path = request.head.path();
    let method = &*request.head.method;
    let refused = |allow| Error::Method {
        method: method.to_owned(),
        allow,
    };
    if let Some(topic) = path.strip_prefix("/topics/") {
        return match method {
            "POST" => Ok(Route::Topic(topic.to_owned())),
            _ => Err(refused("POST")),
        };
    }
    if path == "/keep-alive" {
        return match method {
            "POST" => Ok(Route::KeepAlive),
            _ => Err(refused("POST")),
        };
    }
    let client = path
        .strip_prefix("/client-id/")
        .and_then(|rest| rest.strip_suffix("/status"))
        .filter(|id| !id.is_empty());
    match (client, method) {
        (Some(id), "GET" | "POST") => Ok(Route::Status(id.to_owned())),
        (Some(_), _) => Err(refused("GET, POST")),
        (None, _) => Err(Error::Path(path.to_owned())),
    }
}

/// Routes, authenticates, parses and authorizes: a wrong path is told before a wrong password
/// (assumed).
pub(super) fn admit(vendor: &TencentTdmq, walk: &mut Walk<'_>) -> Result<DataCall, Error> {
    let route = route(walk.request)?;
    walk.draft.asks(match route {
        Route::Topic(_) => PUBLISH,
        Route::Status(_) => CLIENT_STATUS,
        Route::KeepAlive => KEEP_ALIVE,
    });
    let created = vendor.store.creates_by_host(walk.request.head.host());
    walk.draft.hints.extend(created);
    let instance = vendor.store.by_host(walk.request.head.host());
    let credentials = authenticate(vendor, &instance, walk)?;
    match route {
        Route::Topic(topic) => publish(vendor, walk, instance, &credentials, &topic)
            .map(|call| DataCall::Publish(Box::new(call))),
        Route::Status(id) => {
            let client_id = form::decode(&id)
                .map_err(|_| Error::Path(walk.request.head.path().to_owned()))?
                .into_owned();
            let subject = subject(walk.request, &credentials, &Parameters::default());
            authorize(&instance, &subject, Operation::Connect)?;
            Ok(DataCall::ClientStatus(ClientStatus {
                instance,
                client_id,
            }))
        }
        Route::KeepAlive => {
            keep_alive(vendor, walk, instance, &credentials).map(DataCall::KeepAlive)
        }
    }
}

fn keep_alive(
    vendor: &TencentTdmq,
    walk: &mut Walk<'_>,
    instance: Arc<Instance>,
    credentials: &Credentials,
) -> Result<KeepAlive, Error> {
    let asked = query::keep_alive(walk.request.head.raw_query())?;
    check_length(
        "client-id",
        &asked.client_id,
        vendor.settings.max_client_id_bytes,
    )?;
    for hint in &asked.hints {
        walk.draft.note(hint);
    }
    let subject = subject(walk.request, credentials, &Parameters::default());
    authorize(&instance, &subject, Operation::Connect)?;
    Ok(KeepAlive {
        instance,
        client_id: asked.client_id,
        interval: asked.interval,
    })
}

fn authenticate(
    vendor: &TencentTdmq,
    instance: &Instance,
    walk: &mut Walk<'_>,
) -> Result<Credentials, Error> {
    let presented = Presented {
        headers: &walk.request.head.headers,
        certificates: &walk.request.certificates,
    };
    if vendor.settings.auth == AuthMode::Off {
        walk.draft.hint(AUTH_OFF);
        let named = presented
            .headers
            .get("authorization")
            .and_then(|field| auth::parse_basic(field).ok());
        return Ok(Credentials {
            user: named.map(|(name, _)| name),
            certificate: None,
        });
    }
    let credentials = auth::authenticate(
        presented,
        Trusted {
            users: &instance.resources.read().users,
            authorities: &vendor.settings.ca_certificates,
            now: walk.receipt.now,
        },
    )?;
    let device = credentials.certificate.as_ref();
    walk.draft.caller = credentials
        .user
        .clone()
        .or_else(|| device.and_then(|identity| identity.common_name.clone()));
    Ok(credentials)
}

fn publish(
    vendor: &TencentTdmq,
    walk: &mut Walk<'_>,
    instance: Arc<Instance>,
    credentials: &Credentials,
    topic: &str,
) -> Result<Publish, Error> {
    let topic = form::decode(topic)
        .map_err(|_| Error::Topic("it is not percent-encoded UTF-8".to_owned()))?
        .into_owned();
    let topic = TopicName::parse(topic).map_err(|error| Error::Topic(error.to_string()))?;
    check_topic_name(topic.as_str(), vendor.settings.max_topic_bytes)?;
    let parameters = query::parse(walk.request.head.raw_query())?;
    check_client_id(&parameters, vendor.settings.max_client_id_bytes)?;
    check_payload(walk.request.body.len(), vendor.settings.max_payload_bytes)?;
    let subject = subject(walk.request, credentials, &parameters);
    note_overridden(walk, credentials, &parameters);
    for hint in &parameters.hints {
        walk.draft.note(hint);
    }
    authorize(&instance, &subject, Operation::Connect)?;
    authorize(
        &instance,
        &subject,
        Operation::Publish {
            topic: topic.as_str(),
            qos: parameters.qos,
            retain: parameters.retain,
        },
    )?;
    Ok(Publish {
        instance,
        publication: Publication {
            topic,
            payload: walk.request.body.clone(),
            qos: parameters.qos,
            retain: parameters.retain,
            properties: parameters.properties,
            origin: Origin {
                kind: OriginKind::Http,
                vendor: Some(Surface::TencentTdmq),
                client_id: Some(subject.client_id),
                request: Some(walk.receipt.id.clone()),
            },
        },
    })
}

/// Topics that start with `$` are the service's own (assumed: only it publishes to them).
pub(super) fn check_topic_name(text: &str, max_bytes: usize) -> Result<(), Error> {
    if text.len() > max_bytes {
        let why = format!("it has {} bytes, the limit is {max_bytes}", text.len());
        return Err(Error::Topic(why));
    }
    if text.starts_with('$') {
        return Err(Error::Topic(
            "topics that start with $ are the service's own".to_owned(),
        ));
    }
    Ok(())
}

/// As at CONNECT. The id that is made where none came is not the caller's to shorten.
fn check_client_id(parameters: &Parameters, limit: usize) -> Result<(), Error> {
    let named = parameters.client_id.as_deref().unwrap_or_default();
    check_length("client_id", named, limit)
}

fn check_length(name: &str, text: &str, limit: usize) -> Result<(), Error> {
    let length = text.len();
    if length > limit {
        return Err(Error::Parameter {
            name: name.to_owned(),
            problem: format!("it has {length} bytes, the limit is {limit}"),
        });
    }
    Ok(())
}

/// Refuses a payload over the limit.
pub(super) fn check_payload(size: usize, limit: usize) -> Result<(), Error> {
    if size > limit {
        return Err(Error::PayloadTooLarge { size, limit });
    }
    Ok(())
}

/// The Basic user and the certificate's common name come before what the query says.
fn subject(request: &Request, credentials: &Credentials, parameters: &Parameters) -> Subject {
    let certificate = credentials.certificate.clone();
    let common_name = certificate
        .as_ref()
        .and_then(|identity| identity.common_name.clone());
    Subject {
        username: credentials
            .user
            .clone()
            .or_else(|| parameters.username.clone()),
        client_id: common_name
            .or_else(|| parameters.client_id.clone())
            .unwrap_or_else(|| format!("http-{}", request.peer.port())),
        ip: Some(request.peer.ip()),
        certificate,
        access_list: Vec::new(),
    }
}

fn note_overridden(walk: &mut Walk<'_>, credentials: &Credentials, parameters: &Parameters) {
    if let (Some(user), Some(named)) = (&credentials.user, &parameters.username)
        && user != named
    {
        walk.draft.note(format!(
            "username={named:?} is not used: the Basic user {user:?} is"
        ));
    }
    let common_name = credentials
        .certificate
        .as_ref()
        .and_then(|identity| identity.common_name.as_ref());
    if let (Some(name), Some(named)) = (common_name, &parameters.client_id)
        && name != named
    {
        walk.draft.note(format!(
            "client_id={named:?} is not used: the certificate's common name {name:?} is"
        ));
    }
}

fn authorize(
    instance: &Instance,
    subject: &Subject,
    operation: Operation<'_>,
) -> Result<(), Error> {
    let decision = policy::decide(&instance.resources.read().policies, subject, operation);
    if decision.is_allowed() {
        return Ok(());
    }
    Err(Error::Denied(policy::denial(&decision, subject, operation)))
}

/// The client that a point-to-point topic `{first level}/p2p/{client id}` names
/// (tencentcloud.com/document/product/1294/76455).
pub(super) fn point_to_point(topic: &str) -> Option<&str> {
    let (_, rest) = topic.split_once('/')?;
    rest.strip_prefix("p2p/").filter(|id| !id.is_empty())
}

/// Publishes and answers 200 with the message id and no body.
pub(super) async fn perform_publish(
    vendor: &TencentTdmq,
    call: Publish,
    walk: &mut Walk<'_>,
) -> Result<Answer, Error> {
    let id = send(vendor, &call.instance, call.publication, walk).await?;
    Ok(Answer::new(200).header("X-Message-Id", id))
}

/// Hands a publication to the broker and returns the message's id.
pub(super) async fn send(
    vendor: &TencentTdmq,
    instance: &Instance,
    publication: Publication,
    walk: &mut Walk<'_>,
) -> Result<String, Error> {
    let topic = publication.topic.clone();
    let published = match point_to_point(topic.as_str()) {
        Some(client_id) => {
            let client_id = client_id.to_owned();
            walk.app
                .broker
                .send_to_client_in(&instance.id, &client_id, publication)
                .await?
        }
        None => {
            walk.app
                .broker
                .publish_in(&instance.id, publication)
                .await?
        }
    };
    instance.note_topic(
        topic.as_str(),
        walk.receipt.now.as_second(),
        vendor.settings.instance.topic_limit,
    );
    walk.draft.published(&published.message);
    Ok(published.message.id.clone())
}

fn json_answer(body: &serde_json::Value) -> Answer {
    // The page prints no header field (assumed).
    Answer::new(200)
        .header("Content-Type", "application/json")
        .body(body.to_string())
}

async fn is_online(instance: &Instance, client_id: &str, walk: &Walk<'_>) -> bool {
    let clients = walk.app.broker.clients().await;
    clients.iter().any(|client| {
        client.connected && client.client_id == client_id && instance.has_client(client)
    })
}

/// 200 in either case; a client that never was is not online.
pub(super) async fn perform_status(call: ClientStatus, walk: &mut Walk<'_>) -> Answer {
    let online = is_online(&call.instance, &call.client_id, walk).await;
    json_answer(&json!({ "online": online }))
}

pub(super) async fn perform_keep_alive(
    call: KeepAlive,
    walk: &mut Walk<'_>,
) -> Result<Answer, Error> {
    if !is_online(&call.instance, &call.client_id, walk).await {
        return Err(Error::ClientOffline(call.client_id));
    }
    let broker = &walk.app.broker;
    match broker.keep_alive(&call.client_id, call.interval).await {
        KeepAliveChange::Changed => Ok(json_answer(
            &json!({ "success": true, "keepalive": call.interval }),
        )),
        KeepAliveChange::NotConnected => Err(Error::ClientOffline(call.client_id)),
        KeepAliveChange::Unwatched => Err(Error::NoKeepAlive(call.client_id)),
    }
}
