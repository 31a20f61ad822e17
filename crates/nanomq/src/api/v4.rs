//! V4: paths and methods, judged after the credentials. Refusals are `{"code":N}` alone.
//! Source: the recordings of 0.25.5, `rest_api.c`.

use mqttstack_base::exchange::Answer;
use mqttstack_pipeline::Walk;

use super::super::auth::Reading;
use super::super::cjson::{Json, read};
use super::super::error::{Error, Problem};
use super::super::{Nanomq, wire};
use super::clients::Filters;
use super::route::{self, Method, Operation};
use super::subscribe;
use super::{clients, control, figures, publish, topic_tree};

/// The list of endpoints, as 0.25.5 tells it: with those that answer 404.
const ENDPOINTS: &str = include_str!("endpoints.json");

/// A V4 request that was understood and allowed.
#[derive(Debug)]
pub struct Call {
    operation: Operation,
    body: Json,
    filters: Filters,
}

/// Authenticates, then looks at the method, the path and the body.
pub(crate) fn admit(nanomq: &Nanomq, walk: &mut Walk<'_>) -> Result<Call, Error> {
    let head = &walk.request.head;
    let header = wire::first(head, "authorization");
    nanomq.authenticate(header.as_deref(), Reading::Behind, false, walk)?;
    let method = Method::parse(&head.method).ok_or_else(|| {
        Error::new(
            Problem::UnknownMethod,
            "only GET, POST, PUT and DELETE are known",
        )
    })?;
    let unknown = || {
        Error::new(
            Problem::UnknownPath,
            "no such path, or not with this method; percent escapes in a path are not decoded here",
        )
    };
    // A path that leads here only once it is decoded is none of these.
    let operation = head
        .origin_form()
        .strip_prefix("/api/v4")
        .and_then(|rest| route::operation(method, rest))
        .ok_or_else(unknown)?;
    walk.draft.asks(operation.name());
    let settings = &nanomq.settings;
    match operation {
        Operation::ChangeSubscriptions(..) if !settings.subscribe_enabled => {
            walk.draft
                .note("switched off in NanoMQ since 2022; nanomq.subscribe_enabled makes it work");
            return Err(unknown());
        }
        Operation::Kick(_) if !settings.kick_enabled => {
            walk.draft
                .note("not yet in 0.25.5; nanomq.kick_enabled makes it work");
            return Err(unknown());
        }
        _ => {}
    }
    let filters = match operation {
        Operation::Clients { .. } => Filters::parse(head.raw_query())?,
        _ => Filters::default(),
    };
    let body = body_of(&operation, &walk.request.body)?;
    Ok(Call {
        operation,
        body,
        filters,
    })
}

/// The body, where the operation has one: an object, or an array for the batches.
fn body_of(operation: &Operation, body: &[u8]) -> Result<Json, Error> {
    let (wanted, is_wanted): (_, fn(&Json) -> bool) = match operation {
        Operation::PublishBatch | Operation::ChangeSubscriptions(_, true) => {
            ("array", |json| json.items().is_some())
        }
        Operation::Publish
        | Operation::ChangeSubscriptions(_, false)
        | Operation::SetReload
        | Operation::SetConfiguration(_)
        | Operation::SetBridge
        | Operation::BridgeTopics(_)
        | Operation::SwitchBridge
        | Operation::SetRules(true) => ("object", Json::is_object),
        _ => return Ok(Json::Null),
    };
    let not_json = |why: String| Error::new(Problem::BodyNotJson, why);
    let json = read::bytes(body)
        .filter(is_wanted)
        .ok_or_else(|| not_json(format!("the body is not a JSON {wanted}")))?;
    if let Operation::BridgeTopics(list) = operation {
        let given = json.get("data").and_then(|data| data.get(list));
        given
            .and_then(Json::items)
            .ok_or_else(|| not_json(format!("data.{list} is not an array")))?;
    }
    Ok(json)
}

/// Does what was asked.
pub(crate) async fn perform(
    nanomq: &Nanomq,
    call: Call,
    walk: &mut Walk<'_>,
) -> Result<Answer, Error> {
    let broker = &walk.app.broker;
    let data = match call.operation {
        Operation::Endpoints => endpoints(),
        Operation::Brokers => figures::brokers(nanomq, walk.receipt),
        Operation::Nodes => figures::nodes(nanomq, broker, walk.receipt).await,
        Operation::Clients { id, username } => {
            let mut filters = call.filters;
            filters = id.iter().fold(filters, |filters, id| filters.of_client(id));
            filters = username
                .iter()
                .fold(filters, |filters, name| filters.of_user(name));
            clients::clients_v4(broker, &filters).await
        }
        Operation::Subscriptions(id) => clients::subscriptions_v4(broker, id.as_deref()).await,
        Operation::TopicTree => topic_tree::levels(&broker.subscriptions().await, "clientid"),
        Operation::Metrics => return Ok(typed(&figures::metrics(nanomq, broker).await)),
        Operation::Prometheus => {
            let text = figures::prometheus(nanomq, broker).await;
            return Ok(wire::bytes(
                200,
                Some("text/plain".to_owned()),
                text.into_bytes(),
            ));
        }
        Operation::GetReload => nanomq.state.running(|running| running.v4.reloadable()),
        Operation::GetConfiguration(part) => nanomq
            .state
            .running(|running| running.v4.part(part.as_deref()))
            .ok_or_else(|| Error::new(Problem::UnknownPart, "no such part of the configuration"))?,
        Operation::GetBridges => {
            let nodes = Json::object([("nodes", Json::Array(Vec::new()))]);
            Json::object([("bridge", nodes)])
        }
        Operation::PublishBatch | Operation::ChangeSubscriptions(_, true) => {
            return Ok(typed(&batch(&call.operation, &call.body, walk).await));
        }
        ref other => {
            change(nanomq, other, &call.body, walk).await?;
            return Ok(typed(&Json::object([("code", Json::from(0_u16))])));
        }
    };
    Ok(typed(&Json::object([
        ("code", Json::from(0_u16)),
        ("data", data),
    ])))
}

/// What answers nothing but its code.
async fn change(
    nanomq: &Nanomq,
    operation: &Operation,
    body: &Json,
    walk: &mut Walk<'_>,
) -> Result<(), Error> {
    let no_bridge = |problem| Error::new(problem, "there are no bridges here");
    let nothing = Json::Null;
    let data = body.get("data").unwrap_or(&nothing);
    match operation {
        Operation::Publish => publish::publish(body, walk).await,
        Operation::ChangeSubscriptions(change, _) => subscribe::change(body, *change, walk).await,
        Operation::SetReload => {
            let taken = nanomq
                .state
                .change_running(|running| running.v4.reload(data));
            note_taken(&taken, walk);
            Ok(())
        }
        Operation::SetConfiguration(part) => {
            let taken = nanomq.state.change_running(|running| {
                let taken = running.v4.set_part(part.as_deref(), data);
                running.login_from_v4();
                taken
            });
            note_taken(&taken, walk);
            Ok(())
        }
        Operation::ConfigUpdate => config_update(walk),
        Operation::SetBridge => Err(no_bridge(Problem::UnknownBridge)),
        Operation::BridgeTopics(_) => Err(no_bridge(Problem::UnknownBridgeTopics)),
        Operation::SwitchBridge => Err(no_bridge(Problem::UnknownBridgeSwitch)),
        Operation::Ctrl(Some(action)) => {
            control::perform(nanomq, *action, walk);
            Ok(())
        }
        Operation::Ctrl(None) => Err(Error::new(
            Problem::UnknownAction,
            "neither stop nor restart",
        )),
        Operation::Kick(id) if walk.app.broker.kick(id).await => Ok(()),
        Operation::Kick(id) => {
            let why = format!("no client {id:?} is connected");
            Err(Error::new(Problem::UnknownClient, why))
        }
        Operation::GetRules | Operation::SetRules(_) => Err(Error::new(
            Problem::RulesOff,
            "as in a NanoMQ built without the rule engine",
        )),
        other => {
            let why = format!("{} is performed elsewhere", other.name());
            Err(Error::new(Problem::Internal, why))
        }
    }
}

fn note_taken(taken: &[&str], walk: &mut Walk<'_>) {
    walk.draft
        .note(format!("in effect until a restart: [{}]", taken.join(", ")));
}

/// Every item of a batch on its own, then code 0, whatever became of them.
async fn batch(operation: &Operation, body: &Json, walk: &mut Walk<'_>) -> Json {
    let mut rows = Vec::new();
    for item in body.items().unwrap_or_default() {
        let done = match operation {
            Operation::ChangeSubscriptions(change, _) => {
                subscribe::change(item, *change, walk).await
            }
            _ => publish::publish(item, walk).await,
        };
        let code = match done {
            Ok(()) => 0,
            Err(error) => {
                walk.draft.note(format!("item {}: {error}", rows.len()));
                error.problem.row().code
            }
        };
        let topic = ["topics", "topic"]
            .iter()
            .find_map(|key| item.get(key).filter(|value| value.text().is_some()));
        let mut members: Vec<(&str, Json)> = Vec::new();
        members.extend(topic.map(|topic| ("topic", topic.clone())));
        members.push(("code", code.into()));
        rows.push(Json::object(members));
    }
    Json::object([("data", Json::Array(rows)), ("code", Json::from(0_u16))])
}

/// `config_update`: the body is the text of a whole configuration file. It is judged only by
/// whether its brackets and quotes close, and not applied: this configuration has no file.
fn config_update(walk: &mut Walk<'_>) -> Result<(), Error> {
    if looks_like_hocon(&walk.request.body) {
        walk.draft
            .note("ours: the text is taken, and nothing follows from it");
        Ok(())
    } else {
        Err(Error::new(Problem::NotHocon, "the body is not HOCON"))
    }
}

fn looks_like_hocon(text: &[u8]) -> bool {
    let (mut open, mut quoted, mut assigned) = (Vec::new(), false, false);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => open.push(*byte),
            b'}' if open.pop() != Some(b'{') => return false,
            b']' if open.pop() != Some(b'[') => return false,
            b'=' | b':' => assigned = true,
            _ => {}
        }
    }
    open.is_empty() && !quoted && (assigned || text.contains(&b'{'))
}

fn endpoints() -> Json {
    read::bytes(ENDPOINTS.as_bytes()).unwrap_or(Json::Array(Vec::new()))
}

fn typed(body: &Json) -> Answer {
    wire::json(200, Some(wire::JSON.to_owned()), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_endpoints_has_the_recorded_length() {
        let answer = Json::object([("code", Json::from(0_u16)), ("data", endpoints())]);
        assert_eq!(answer.print().len(), 4715);
    }

    #[test]
    fn hocon_must_at_least_close_what_it_opens() {
        assert!(looks_like_hocon(b"mqtt { property_size = 32 }\n"));
        assert!(looks_like_hocon(b"a: \"}\"\n"));
        for bad in [&b""[..], b"hello", b"a = {", b"a = \"x", b"a = ]"] {
            assert!(!looks_like_hocon(bad), "{bad:?}");
        }
    }
}
