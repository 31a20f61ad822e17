//! The walk of one request, for every vendor the same:
//! receipt, journal entry, admit (authenticate, parse, authorize), quota, perform, answer.
//! An error anywhere is rendered in one place, a panic like any other refusal.
//! What a vendor must supply is [`Vendor`]; start reading at [`run`].

use std::borrow::Cow;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use mqttstack_base::exchange::{
    Answer, BodyPolicy, Head, Malformed, Receipt, Refusal, Request, Surface,
};

use crate::App;
use crate::journal::{Draft, Opened, masking};

/// The header field of an answer that names its entry in the journal.
pub const REQUEST_ID: &str = "x-mqttstack-request-id";

/// The longest text that a log line repeats of a request, in bytes.
const LONGEST_LOGGED: usize = 2_000;

/// What one walk has at hand.
pub struct Walk<'a> {
    /// The shared rooms.
    pub app: &'a App,
    /// The request, read once.
    pub request: &'a Request,
    /// The request id and the time of the walk.
    pub receipt: &'a Receipt,
    /// What the journal will say: operation, caller, reasons, messages.
    pub draft: &'a mut Draft,
}

/// A call that counts against somebody's rate.
#[derive(Debug, Clone)]
pub struct Charge {
    /// The vendor's name of the operation.
    pub operation: &'static str,
    /// Whose rate it is.
    pub key: String,
    /// The rate; 0 means none.
    pub per_second: u32,
}

/// One vendor's HTTP surface.
pub trait Vendor: Send + Sync + 'static {
    /// Which of the five it is.
    const SURFACE: Surface;
    /// A request that was understood and allowed, ready to be performed.
    type Call: Send;
    /// How the vendor refuses.
    type Error: From<Refusal> + std::fmt::Display + Send;

    /// How the body of a request with this head is to be read.
    fn body_policy(&self, _head: &Head) -> BodyPolicy {
        BodyPolicy::default()
    }

    /// How a request is refused whose bytes could not be read.
    fn unreadable(&self, problem: Malformed, _request: &Request) -> Self::Error {
        Refusal::Malformed(problem).into()
    }

    /// Authenticates, parses and authorizes, in the vendor's own order.
    fn admit(
        &self,
        walk: &mut Walk<'_>,
    ) -> impl Future<Output = Result<Self::Call, Self::Error>> + Send;

    /// The rate that a call counts against.
    fn charge(&self, _call: &Self::Call) -> Option<Charge> {
        None
    }

    /// Does what was asked and answers.
    fn perform(
        &self,
        call: Self::Call,
        walk: &mut Walk<'_>,
    ) -> impl Future<Output = Result<Answer, Self::Error>> + Send;

    /// Whether an answer names its request id in [`REQUEST_ID`], beside what the vendor answers.
    fn names_request(&self) -> bool {
        true
    }

    /// The vendor's code of an error, as the journal lists it.
    fn error_code(&self, error: &Self::Error) -> String;

    /// Whether an error says that a rate was exceeded.
    fn is_over_rate(&self, _error: &Self::Error) -> bool {
        false
    }

    /// The vendor's answer to an error. The only function of a vendor that writes a refusal.
    fn render(&self, error: &Self::Error, request: &Request, receipt: &Receipt) -> Answer;
}

/// Walks one request from its arrival to its answer. A walk that is dropped before it has one is
/// closed in the journal as aborted, and logged so.
pub async fn run<V: Vendor>(app: &App, vendor: &V, request: &Request) -> Answer {
    run_until(app, vendor, request, std::future::pending()).await
}

/// The same; where there is no answer before `cut`, the request is refused.
pub async fn run_until<V: Vendor>(
    app: &App,
    vendor: &V,
    request: &Request,
    cut: impl Future<Output = ()> + Send,
) -> Answer {
    let receipt = app.receipt();
    let mut walked = Walked {
        surface: V::SURFACE,
        request,
        receipt: &receipt,
        opened: app.journal.open(Some(V::SURFACE), &receipt, request),
        ended: false,
    };
    let walk = Walk {
        app,
        request,
        receipt: &receipt,
        draft: &mut walked.opened.draft,
    };
    let steps = AssertUnwindSafe(steps(vendor, walk)).catch_unwind();
    let result = tokio::select! {
        biased;
        result = steps => {
            result.unwrap_or_else(|panic| Err(Refusal::Internal(panic_text(&*panic)).into()))
        }
        () = cut => Err(Refusal::Unavailable("the emulator is stopping".to_owned()).into()),
    };
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => {
            let draft = &mut walked.opened.draft;
            draft.error_code = Some(vendor.error_code(&error));
            draft.reasons.insert(0, error.to_string());
            if let Some(first) = draft.reasons.first_mut()
                && vendor.is_over_rate(&error)
            {
                first.push_str(app.quotas.hint());
            }
            vendor.render(&error, request, &receipt)
        }
    };
    let answer = if vendor.names_request() {
        answer.header(REQUEST_ID, &*receipt.id)
    } else {
        answer
    };
    walked.end(&answer);
    answer
}

/// A walk's way into journal and log, whichever way it ends.
struct Walked<'a> {
    surface: Surface,
    request: &'a Request,
    receipt: &'a Receipt,
    opened: Opened,
    ended: bool,
}

impl Walked<'_> {
    fn end(&mut self, answer: &Answer) {
        self.ended = true;
        self.log(Some(answer.status));
        self.opened.finish(Some(answer));
    }

    /// One line per request. The target may carry keys, so only its path is logged.
    fn log(&self, status: Option<u16>) {
        let draft = &self.opened.draft;
        let reasons = draft.reasons.join("; ");
        let reason = (!reasons.is_empty()).then(|| masking::words(&reasons));
        tracing::info!(
            target: "mqttstack::request",
            vendor = self.surface.as_str(),
            id = self.receipt.id,
            method = &*self.request.head.method,
            path = &*logged(self.request.head.path()),
            operation = draft.operation.as_deref(),
            topic = draft.topic.as_deref().map(logged).as_deref(),
            message = draft.messages.first().map(String::as_str),
            status,
            aborted = status.is_none().then_some(true),
            error_code = draft.error_code.as_deref(),
            reason = reason.as_deref(),
        );
    }
}

impl Drop for Walked<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.log(None);
            // The entry's own drop closes it as aborted.
        }
    }
}

/// What a log line repeats of a text that a client chose.
pub fn logged(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_LOGGED {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(LONGEST_LOGGED);
    Cow::Owned(format!("{}... ({} bytes)", &text[..end], text.len()))
}

async fn steps<V: Vendor>(vendor: &V, mut walk: Walk<'_>) -> Result<Answer, V::Error> {
    if let Some(problem) = &walk.request.malformed {
        return Err(vendor.unreadable(problem.clone(), walk.request));
    }
    let call = vendor.admit(&mut walk).await?;
    if let Some(charge) = vendor.charge(&call) {
        walk.app
            .quotas
            .take(charge.operation, &charge.key, charge.per_second)?;
    }
    vendor.perform(call, &mut walk).await
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
