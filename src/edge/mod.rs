//! Decides to which vendor, or to the admin API, an HTTP request goes: by host, then by path
//! (`table.rs`). A vendor's own port is the same handler with that decision fixed. `admin.rs` hands a
//! request to the admin API; a request that belongs to nobody gets a problem document (`problem.rs`).

mod admin;
mod problem;
mod table;

use axum::Router;
use axum::response::IntoResponse;
use bytestring::ByteString;
use mqttstack_base::exchange::{
    Answer, BodyPolicy, HandshakeFailure, Head, Headers, Malformed, Request, Surface, Version,
};
use mqttstack_http1::Handler;
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::Draft;
use mqttstack_pipeline::{REQUEST_ID, logged};
use tokio_util::sync::CancellationToken;

use crate::admin::Guard;
use crate::vendors::Vendors;

pub(crate) use table::{
    ADMIN, Destination, hosts, takes_certificates, takes_certificates_over_websocket,
};
use table::{destination, of_form, surface_of_host};

/// What answers the requests of one listener.
#[derive(Clone)]
pub(crate) struct Edge {
    app: App,
    vendors: Vendors,
    admin: Router,
    guard: Guard,
    /// Cancelled when what is under way is to be refused, because the program stops.
    cut: CancellationToken,
    only: Option<Surface>,
}

impl Edge {
    /// The edge: all vendors and the admin API.
    pub(crate) fn new(
        app: App,
        vendors: Vendors,
        (admin, guard): (Router, Guard),
        cut: CancellationToken,
    ) -> Self {
        Self {
            app,
            vendors,
            admin,
            guard,
            cut,
            only: None,
        }
    }

    /// One vendor alone: every request is its own, whatever host and path say.
    #[must_use]
    pub(crate) fn only(&self, surface: Surface) -> Self {
        Self {
            only: Some(surface),
            ..self.clone()
        }
    }

    async fn vendor(&self, surface: Surface, request: &Request) -> Answer {
        let cut = self.cut.cancelled();
        self.vendors.answer(&self.app, surface, request, cut).await
    }

    /// What only the body tells: whose a form is. It was read by the most generous of the limits.
    async fn form(&self, mut request: Request) -> Answer {
        let surface = of_form(&request);
        let limit = self.vendors.body_policy(surface, &request.head).max_body;
        if request.malformed.is_none() && request.body.len() > limit {
            request.malformed = Some(Malformed::BodyTooLarge { limit });
        }
        self.vendor(surface, &request).await
    }

    async fn admin(&self, request: Request) -> Answer {
        if let Some(problem) = &request.malformed {
            return problem::malformed(problem);
        }
        if let Err(problem) = self.guard.check(&request) {
            tracing::info!(
                target: "mqttstack::request",
                method = &*request.head.method,
                path = &*logged(request.head.path()),
                status = 403,
                reason = %problem,
            );
            return admin::converted(problem.into_response()).await;
        }
        tokio::select! {
            answer = admin::answer(self.admin.clone(), request) => answer,
            () = self.cut.cancelled() => problem::answer(503, "the emulator is stopping"),
        }
    }

    /// Journals an answer that is the edge's own.
    fn own(&self, request: &Request, answer: Answer) -> Answer {
        let receipt = self.app.receipt();
        let mut opened = self.app.journal.open(None, &receipt, request);
        let answer = answer.header(REQUEST_ID, &*receipt.id);
        let reason = request.malformed.as_ref().map_or_else(
            || "neither host nor path belongs to a vendor or to the admin API".to_owned(),
            ToString::to_string,
        );
        tracing::info!(
            target: "mqttstack::request",
            id = receipt.id,
            method = &*request.head.method,
            path = &*logged(request.head.path()),
            status = answer.status,
            reason,
        );
        opened.draft.note(reason);
        opened.close(&answer);
        answer
    }

    fn nowhere(&self, request: &Request) -> Answer {
        let answer = match &request.malformed {
            Some(problem) => problem::malformed(problem),
            None => problem::nowhere(&request.head.method, request.head.path()),
        };
        self.own(request, answer)
    }
}

impl Handler for Edge {
    type Destination = Destination;

    fn sole(&self) -> Option<Destination> {
        self.only.map(Destination::Vendor)
    }

    fn destination(&self, head: &Head, before: Option<&Destination>) -> Destination {
        match (self.only, before) {
            (Some(surface), _) => Destination::Vendor(surface),
            // Bytes behind a request that say nothing themselves.
            (None, Some(before)) if head.target.is_empty() => *before,
            (None, _) => destination(head),
        }
    }

    fn reads_loosely(&self, to: &Destination) -> bool {
        *to == Destination::Vendor(Surface::Nanomq)
    }

    fn body_policy(&self, to: &Destination, head: &Head) -> BodyPolicy {
        match to {
            Destination::Vendor(surface) => self.vendors.body_policy(*surface, head),
            Destination::Form => {
                let limits = Surface::ALL.map(|surface| self.vendors.body_policy(surface, head));
                BodyPolicy {
                    max_body: limits
                        .iter()
                        .map(|policy| policy.max_body)
                        .max()
                        .unwrap_or(0),
                    ends: true,
                    ..BodyPolicy::default()
                }
            }
            Destination::Admin | Destination::Nowhere => BodyPolicy::default(),
        }
    }

    async fn handle(&self, to: Destination, request: Request) -> Answer {
        match to {
            Destination::Vendor(surface) => self.vendor(surface, &request).await,
            Destination::Form => self.form(request).await,
            Destination::Nowhere => self.nowhere(&request),
            Destination::Admin => self.admin(request).await,
        }
    }

    fn handshake_failed(&self, failure: &HandshakeFailure) {
        let receipt = self.app.receipt();
        let name = failure.server_name.clone().unwrap_or_default();
        let surface = self.only.or_else(|| surface_of_host(&name));
        tracing::info!(
            target: "mqttstack::request",
            vendor = surface.map(Surface::as_str),
            id = receipt.id,
            packet = "TLS",
            peer = %failure.peer,
            server_name = name,
            alert = failure.alert,
            reason = failure.reason,
        );
        let head = Head {
            method: ByteString::from_static("TLS"),
            target: name.into(),
            version: Version::Http11,
            headers: Headers::default(),
            size: 0,
        };
        let draft = Draft {
            operation: Some("TLS".to_owned()),
            known: Some("TLS"),
            caller: Some(failure.peer.to_string()),
            reasons: vec![failure.reason.clone()],
            ..Draft::default()
        };
        let journal = &self.app.journal;
        journal.refused(surface, &receipt, head, draft, failure.alert.into());
    }
}
