//! V1: one URL, JSON bodies with a number `req` that says what is asked and a number `seq` that
//! comes back. Whatever is understood is answered 200 with code 0.
//! Source: the recordings of 0.8.0, its `rest_api.c`.

use mqttstack_base::exchange::Answer;
use mqttstack_pipeline::Walk;

use super::super::auth::Reading;
use super::super::cjson::{Json, read, to_int, to_u64};
use super::super::error::{Echo, Error, Problem};
use super::super::settings::{Generation, SetConfig};
use super::super::{Nanomq, wire};
use super::control::{self, Action};
use super::{clients, figures, topic_tree};

/// Credentials longer than this overran a buffer of 0.8.0 (measured with 5000 characters).
const CRASHING_CREDENTIALS: usize = 4096;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Brokers,
    Subscriptions,
    Clients,
    Ctrl,
    GetConfig,
    SetConfig,
    TopicTree,
}

/// Every number that has a handler, and its name.
const OPERATIONS: &[(i32, Operation, &str)] = &[
    (2, Operation::Brokers, "brokers"),
    (4, Operation::Subscriptions, "subscriptions"),
    (5, Operation::Clients, "clients"),
    (10, Operation::Ctrl, "ctrl"),
    (11, Operation::GetConfig, "get_config"),
    (12, Operation::SetConfig, "set_config"),
    (13, Operation::TopicTree, "topic_tree"),
];

/// A V1 request that was understood and allowed.
#[derive(Debug)]
pub struct Call {
    operation: Operation,
    echo: Echo,
    body: Json,
}

/// Parses, then authenticates, then looks the request up; up to 0.6.7 credentials come first.
pub(crate) fn admit(nanomq: &Nanomq, walk: &mut Walk<'_>) -> Result<Call, Error> {
    let first = nanomq.settings.generation == Generation::V0_6;
    if first {
        authenticate(nanomq, walk).map_err(|error| error.in_v1(Echo::UNREAD))?;
    }
    let body = read::text(&walk.request.body)
        .filter(Json::is_object)
        .ok_or_else(|| {
            Error::new(Problem::BodyNotJson, "the body is not a JSON object").in_v1(Echo::UNREAD)
        })?;
    let number = |key: &str| body.get(key).and_then(Json::number).unwrap_or(f64::NAN);
    let echo = Echo {
        seq: to_u64(number("seq")),
        rep: to_int(number("req")),
    };
    let known = OPERATIONS.iter().find(|(req, operation, _)| {
        *req == echo.rep && !(first && *operation == Operation::TopicTree)
    });
    if let Some((_, _, name)) = known {
        walk.draft.asks(name);
    }
    if !first {
        authenticate(nanomq, walk).map_err(|error| error.in_v1(echo))?;
    }
    let Some((_, operation, _)) = known else {
        let problem = if first {
            Problem::UnknownRequest06
        } else {
            Problem::UnknownRequest
        };
        let why = "req is none of 2, 4, 5, 10, 11, 12, 13 (or not a number)";
        return Err(Error::new(problem, why).in_v1(echo));
    };
    Ok(Call {
        operation: *operation,
        echo,
        body,
    })
}

fn authenticate(nanomq: &Nanomq, walk: &mut Walk<'_>) -> Result<(), Error> {
    let header = wire::joined(&walk.request.head, "authorization");
    if header
        .as_ref()
        .is_some_and(|header| header.len() > CRASHING_CREDENTIALS)
    {
        walk.draft
            .note("ours: NanoMQ 0.8.0 crashes on credentials of this length");
    }
    let basic_only = nanomq.settings.generation == Generation::V0_6;
    nanomq.authenticate(header.as_deref(), Reading::Scanned, basic_only, walk)
}

/// Does what was asked. Nothing here can be refused any more.
pub(crate) async fn perform(nanomq: &Nanomq, call: Call, walk: &mut Walk<'_>) -> Answer {
    let broker = &walk.app.broker;
    let data = match call.operation {
        Operation::Brokers => Some(figures::brokers_v1(nanomq, broker).await),
        Operation::Subscriptions => Some(clients::subscriptions_v1(broker).await),
        Operation::Clients => Some(clients::clients_v1(broker).await),
        Operation::TopicTree => {
            let subscriptions = broker.subscriptions().await;
            Some(topic_tree::levels(&subscriptions, "client_id"))
        }
        Operation::GetConfig => {
            let with_auth_type = nanomq.settings.generation != Generation::V0_6;
            Some(
                nanomq
                    .state
                    .running(|running| running.v1.shown_by_v1(with_auth_type)),
            )
        }
        Operation::SetConfig => {
            set_config(nanomq, &call.body, walk);
            None
        }
        Operation::Ctrl => {
            match call.body.get("action").and_then(Json::text) {
                Some(text) => match Action::parse(text) {
                    Some(action) => control::perform(nanomq, action, walk),
                    None => walk.draft.note("action is neither stop nor restart: nothing happens"),
                },
                None => walk.draft.note(
                    "ours: NanoMQ 0.8.0 crashes when action is missing or no string; nothing happens",
                ),
            }
            None
        }
    };
    let mut members = vec![
        ("code", Json::from(0_u16)),
        ("seq", call.echo.seq.into()),
        ("rep", f64::from(call.echo.rep).into()),
    ];
    members.extend(data.map(|data| ("data", data)));
    let content_type = wire::echoed_type_v1(&walk.request.head);
    wire::json(200, content_type, &Json::object(members))
}

fn set_config(nanomq: &Nanomq, body: &Json, walk: &mut Walk<'_>) {
    let Some(data) = body.get("data").filter(|data| data.is_object()) else {
        walk.draft.note("data is no object: nothing is set");
        return;
    };
    let taken = match nanomq.settings.set_config {
        SetConfig::Real => nanomq.state.change_file(|file| {
            let taken = file.v1.write_as_v1_does(data);
            file.login_from_v1();
            taken
        }),
        SetConfig::Documented => nanomq.state.change_both(|configuration| {
            let taken = configuration.v1.set_as_documented(data);
            configuration.login_from_v1();
            taken
        }),
    };
    let when = match nanomq.settings.set_config {
        SetConfig::Real => "written to the configuration file, seen after a restart (req 10)",
        SetConfig::Documented => "in effect (nanomq.set_config is \"documented\")",
    };
    walk.draft.note(format!("{when}: [{}]", taken.join(", ")));
}
