//! Whose request is it: by host, then by path (`table.rs`). The edge answers for all vendors and
//! the admin API (`admin.rs` is the bridge to it); a vendor's own port is the same handler with
//! the answer to that question fixed. What is nobody's gets a problem document (`problem.rs`).

mod admin;
mod problem;
mod table;

use axum::Router;

use crate::app::App;
use crate::exchange::{Answer, BodyPolicy, Head, Request, Surface};
use crate::http1::Handler;
use crate::vendor::Vendors;

pub use table::{ADMIN, Destination, destination, destination_of};

/// What answers the requests of one listener.
#[derive(Clone)]
pub struct Edge {
    app: App,
    vendors: Vendors,
    admin: Router,
    only: Option<Surface>,
}

impl Edge {
    /// The edge: all vendors and the admin API.
    pub fn new(app: App, vendors: Vendors, admin: Router) -> Self {
        Self {
            app,
            vendors,
            admin,
            only: None,
        }
    }

    /// One vendor alone: every request is its own, whatever host and path say.
    #[must_use]
    pub fn only(&self, surface: Surface) -> Self {
        Self {
            only: Some(surface),
            ..self.clone()
        }
    }

    fn destination(&self, head: &Head) -> Destination {
        self.only
            .map_or_else(|| destination(head), Destination::Vendor)
    }

    async fn vendor(&self, surface: Surface, request: &Request) -> Answer {
        self.vendors.answer(&self.app, surface, request).await
    }

    /// Journals an answer that is the edge's own.
    fn own(&self, request: &Request, answer: Answer) -> Answer {
        let receipt = self.app.receipt();
        let mut opened = self.app.journal.open(None, &receipt, request);
        let reason = request.malformed.as_ref().map_or_else(
            || "neither host nor path belongs to a surface".to_owned(),
            ToString::to_string,
        );
        tracing::info!(
            target: "mqttstack::request",
            id = receipt.id,
            method = &*request.head.method,
            path = request.head.path(),
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
    fn body_policy(&self, head: &Head) -> BodyPolicy {
        match self.destination(head) {
            Destination::Vendor(surface) => self.vendors.body_policy(surface, head),
            Destination::Admin | Destination::Nowhere => BodyPolicy::default(),
        }
    }

    async fn handle(&self, request: Request) -> Answer {
        let destination = match self.only {
            Some(surface) => Destination::Vendor(surface),
            None => destination_of(&request),
        };
        match destination {
            Destination::Vendor(surface) => self.vendor(surface, &request).await,
            Destination::Nowhere => self.nowhere(&request),
            Destination::Admin => match &request.malformed {
                None => admin::answer(self.admin.clone(), request).await,
                Some(problem) => problem::malformed(problem),
            },
        }
    }
}
