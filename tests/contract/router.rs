//! An exchange walked as a value: `pipeline::run` with a `Request`, no socket.

use mqttstack_aliyun::{Aliyun, Error, Settings};
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{Answer, Receipt, Refusal, Request, Surface};
use mqttstack_base::ids::Ids;
use mqttstack_broker::Broker;
use mqttstack_pipeline::App;
use mqttstack_pipeline::Quotas;
use mqttstack_pipeline::journal::Journal;
use mqttstack_pipeline::{self as pipeline, REQUEST_ID, Vendor, Walk};

use crate::fixture::{Answered, Fixture, Published, Seen};

/// Walks the exchange and tells what was seen.
pub(crate) async fn walk(fixture: &Fixture) -> Result<Seen, String> {
    let given = &fixture.given;
    let app = app(given.clock, given.seed).await;
    let settings: Settings = serde_json::from_value(given.settings.clone())
        .map_err(|error| format!("given.settings: {error}"))?;
    let aliyun = Aliyun::new(settings).map_err(|error| error.to_string())?;
    for before in &given.before {
        let answer = pipeline::run(&app, &aliyun, &before.request()).await;
        if answer.status != 200 {
            return Err(format!("a request before was answered {}", answer.status));
        }
    }
    let earlier = app.journal.messages().last();
    let request = fixture.request.request();
    let answer = match &given.fault {
        Some(fault) => {
            let faulty = Faulty(aliyun, named(fault)?);
            pipeline::run(&app, &faulty, &request).await
        }
        None => pipeline::run(&app, &aliyun, &request).await,
    };
    let seen = seen(&app.journal, earlier, answered(&answer));
    app.broker.stop().await;
    seen
}

pub(crate) async fn app(now: jiff::Timestamp, seed: u64) -> App {
    let clock = Clock::frozen(now);
    let ids = Ids::new(Some(seed));
    let journal = Journal::new(&mqttstack_pipeline::journal::Settings::default());
    let recorder = journal.clone();
    let broker = Broker::start(
        mqttstack_broker::Settings::default(),
        clock.clone(),
        ids.clone(),
        std::sync::Arc::new(move |message| recorder.record(message)),
    )
    .await;
    App {
        quotas: Quotas::new(clock.clone()),
        clock,
        ids,
        journal,
        broker,
    }
}

/// The answer as the vendor gives it, without the emulator's own field.
pub(crate) fn answered(answer: &Answer) -> Answered {
    Answered {
        status: answer.status,
        headers: answer
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.clone()))
            .filter(|(name, _)| name != REQUEST_ID)
            .collect(),
        body: String::from_utf8_lossy(&answer.body.bytes()).into_owned(),
    }
}

/// What the journal holds beside an answer: the newest request and the messages since.
pub(crate) fn seen(journal: &Journal, earlier: u64, answer: Answered) -> Result<Seen, String> {
    let entries = journal.requests().since(0);
    let (_, entry) = entries.last().ok_or("nothing in the journal")?;
    let outcome = entry.outcome().ok_or("the journal's entry is open")?;
    let published = journal.messages().since(earlier);
    Ok(Seen {
        answer,
        published: published
            .iter()
            .map(|(_, message)| Published {
                id: message.id.clone(),
                topic: message.topic.clone(),
                payload: String::from_utf8_lossy(&message.payload).into_owned(),
                qos: message.qos.level(),
                retain: message.retain,
            })
            .collect(),
        error_code: outcome.draft.error_code.clone(),
        reasons: outcome.draft.reasons.clone(),
    })
}

/// The vendor, made to answer every request with one error.
struct Faulty(Aliyun, Error);

impl Vendor for Faulty {
    const SURFACE: Surface = Surface::Aliyun;
    type Call = ();
    type Error = Error;

    async fn admit(&self, _: &mut Walk<'_>) -> Result<(), Error> {
        Err(self.1.clone())
    }

    async fn perform(&self, (): (), _: &mut Walk<'_>) -> Result<Answer, Error> {
        Err(self.1.clone())
    }

    fn error_code(&self, error: &Error) -> String {
        self.0.error_code(error)
    }

    fn render(&self, error: &Error, request: &Request, receipt: &Receipt) -> Answer {
        self.0.render(error, request, receipt)
    }
}

/// The errors that no request of a fixture can cause.
fn named(fault: &str) -> Result<Error, String> {
    Ok(match fault {
        "ThrottlingUser" => Error::ThrottlingUser,
        "ThrottlingApi" => Error::ThrottlingApi,
        "Throttling" => Error::Throttling,
        "ForbiddenRam" => Error::ForbiddenRam,
        "ServiceUnavailable" => Error::ServiceUnavailable,
        "GatewayInternalError" => Error::GatewayInternalError,
        "CheckAccountInfoFailed" => Error::CheckAccountInfoFailed,
        "InternalError" => Error::InternalError,
        "SendMessageFailed" => Error::SendMessageFailed,
        "SystemOverFlow" => Error::SystemOverFlow,
        "QueryTokenOverFlow" => Error::QueryTokenOverFlow,
        "RevokeTokenOverFlow" => Error::RevokeTokenOverFlow,
        "GroupIdAlreadyUsedByOtherUsers" => Error::GroupIdAlreadyUsedByOtherUsers,
        "CreateGroupIdError" => Error::CreateGroupIdError,
        "DeleteGroupIdError" => Error::DeleteGroupIdError,
        "DeviceCredentialNumExceed" => Error::DeviceCredentialNumExceed,
        "CustomAuthOverCapacity" => Error::CustomAuthOverCapacity,
        "ApplyTokenOverFlow" => Error::ApplyTokenOverFlow,
        "Overloaded" => Error::Shared(Refusal::Overloaded {
            client_id: "slow".to_owned(),
            waited_ms: 5_000,
        }),
        "Unavailable" => Error::Shared(Refusal::Unavailable("it has stopped".to_owned())),
        "Internal" => Error::Shared(Refusal::Internal("a panic".to_owned())),
        other => return Err(format!("no fault {other:?}")),
    })
}
