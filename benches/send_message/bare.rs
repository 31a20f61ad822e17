//! The bare loop: our HTTP/1 loop with a handler that does nothing. What a call costs on top of it
//! is the emulator's own work, whatever the machine.

use std::net::SocketAddr;
use std::sync::Arc;

use mqttstack::server::{Listener, Server, Settings};
use mqttstack_base::exchange::{Answer, BodyPolicy, Head, Request};
use mqttstack_http1::{Handler, Limits};

/// A handler that does nothing.
struct Nothing;

impl Handler for Nothing {
    type Destination = ();

    fn destination(&self, _head: &Head, _before: Option<&()>) {}

    fn body_policy(&self, (): &(), _head: &Head) -> BodyPolicy {
        BodyPolicy::default()
    }

    async fn handle(&self, (): (), _request: Request) -> Answer {
        Answer::new(200).body("ok")
    }
}

/// Serves for ever, and says on the first line where.
pub(crate) async fn serve() {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind("the bare loop", address, None)
        .await
        .unwrap();
    println!("{}", listener.address());
    let server = Server::new(Settings {
        limits: Limits::default(),
        ..Settings::default()
    });
    server.serve(listener, Arc::new(Nothing));
    std::future::pending::<()>().await;
}
