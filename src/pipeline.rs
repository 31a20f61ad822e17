//! The walk of one request, for every vendor the same:
//! receipt, journal entry, admit (authenticate, parse, authorize), quota, perform, answer.
//! An error anywhere is rendered in one place, a panic like any other refusal.
//! What a vendor must supply is [`Vendor`]; start reading at [`run`].

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::app::App;
use crate::exchange::{Answer, BodyPolicy, Head, Receipt, Refusal, Request, Surface};
use crate::journal::{Draft, masking};

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

    /// The vendor's code of an error, as the journal lists it.
    fn error_code(&self, error: &Self::Error) -> String;

    /// Whether an error says that a rate was exceeded.
    fn is_over_rate(&self, _error: &Self::Error) -> bool {
        false
    }

    /// The vendor's answer to an error. The only function of a vendor that writes a refusal.
    fn render(&self, error: &Self::Error, request: &Request, receipt: &Receipt) -> Answer;
}

/// Walks one request from its arrival to its answer.
pub async fn run<V: Vendor>(app: &App, vendor: &V, request: &Request) -> Answer {
    let receipt = app.receipt();
    let mut opened = app.journal.open(Some(V::SURFACE), &receipt, request);
    let walk = Walk {
        app,
        request,
        receipt: &receipt,
        draft: &mut opened.draft,
    };
    let result = AssertUnwindSafe(steps(vendor, walk))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Err(Refusal::Internal(panic_text(&*panic)).into()));
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => {
            opened.draft.error_code = Some(vendor.error_code(&error));
            opened.draft.reasons.insert(0, error.to_string());
            if let Some(first) = opened.draft.reasons.first_mut()
                && vendor.is_over_rate(&error)
            {
                first.push_str(app.quotas.hint());
            }
            vendor.render(&error, request, &receipt)
        }
    };
    log(V::SURFACE, request, &receipt, &opened.draft, &answer);
    opened.close(&answer);
    answer
}

async fn steps<V: Vendor>(vendor: &V, mut walk: Walk<'_>) -> Result<Answer, V::Error> {
    if let Some(problem) = &walk.request.malformed {
        return Err(Refusal::Malformed(problem.clone()).into());
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

/// One line per request. The target may carry keys, so only its path is logged.
fn log(surface: Surface, request: &Request, receipt: &Receipt, draft: &Draft, answer: &Answer) {
    tracing::info!(
        target: "mqttstack::request",
        vendor = surface.as_str(),
        id = receipt.id,
        method = &*request.head.method,
        path = request.head.path(),
        operation = draft.operation.as_deref(),
        status = answer.status,
        error_code = draft.error_code.as_deref(),
        reason = draft.reasons.first().map(|text| masking::words(text)).as_deref(),
    );
}
