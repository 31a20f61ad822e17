//! One emulator's rooms and its admin routes, called in process as the edge calls them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, header};
use http_body_util::BodyExt;
use mqttstack::admin::{self, ResetPart, ResetScope, Surroundings};
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{Head, Headers, Receipt, Scheme, Surface, Version};
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::{self, Opened};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::shared::Rooms;

pub const NOW: &str = "2026-11-21T22:51:00Z";

/// The admin routes over rooms of their own.
pub struct Panel {
    pub app: App,
    pub router: Router,
    pub ready: watch::Sender<Option<Arc<Value>>>,
    pub resets: Arc<Mutex<Vec<Vec<ResetPart>>>>,
}

/// Status, content type and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub allow: Option<String>,
    pub json: Value,
}

impl Panel {
    pub async fn new() -> Self {
        Self::with(&journal::Settings::default()).await
    }

    /// With a journal of these settings.
    pub async fn with(settings: &journal::Settings) -> Self {
        let rooms = Rooms {
            seed: 7,
            journal: settings.clone(),
            ..Rooms::new(Clock::frozen(NOW.parse().unwrap()))
        };
        let app = rooms.open().await;
        let ready = watch::Sender::new(Some(Arc::new(json!({"ready": true}))));
        let resets = Arc::new(Mutex::new(Vec::new()));
        let log = resets.clone();
        let surroundings = Surroundings {
            ca_pem: Some("-----BEGIN CERTIFICATE-----\n".to_owned()),
            surfaces: vec![Surface::Aliyun, Surface::Nanomq],
            isolation: "shared".to_owned(),
            ready: ready.subscribe(),
            reset: Arc::new(move |scope: ResetScope| {
                log.lock().push(scope.parts().collect());
                Box::pin(std::future::ready(()))
            }),
        };
        let router = admin::router(app.clone(), surroundings);
        Self {
            app,
            router,
            ready,
            resets,
        }
    }

    /// Sends a request and gives the answer with its body still to come.
    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// `method path` below the prefix with a body.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("/_mqttstack{path}"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.send(request).await;
        let text = |name| {
            let value = response.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let (kind, allow) = (text(header::CONTENT_TYPE), text(header::ALLOW));
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer {
            status,
            kind: kind.unwrap_or_default(),
            allow,
            json: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }

    /// `GET path`, which must succeed.
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Value> {
        let path = path.to_owned();
        async move {
            let answer = self.call("GET", &path, "").await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            answer.json
        }
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &body.to_string()).await
    }

    /// Publishes through the broker as an Aliyun request does.
    pub async fn publish(&self, topic: &str, payload: &str) {
        let publication = Publication {
            topic: TopicName::parse(topic).unwrap(),
            payload: payload.to_owned().into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            origin: Origin {
                kind: OriginKind::Http,
                vendor: Some(Surface::Aliyun),
                client_id: Some("GID_test@@@dev".to_owned()),
                request: Some("R1".to_owned()),
            },
        };
        self.app.broker.publish(publication).await.unwrap();
    }

    /// Opens a request's entry, to be closed with an answer.
    pub fn open(&self, id: &str, target: &str, headers: &[(&str, &str)]) -> Opened {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), value.as_bytes().to_vec().into()))
            .collect();
        let request = mqttstack_base::exchange::Request {
            head: Head {
                method: "POST".into(),
                target: target.into(),
                version: Version::Http11,
                headers: Headers(headers),
                size: 200,
            },
            body: "Action=SendMessage&Signature=0123456789abcdef".into(),
            malformed: None,
            peer: ([127, 0, 0, 1], 1).into(),
            local: ([127, 0, 0, 1], 2).into(),
            scheme: Scheme::Http,
            certificates: Arc::new([]),
        };
        let receipt = Receipt {
            id: id.to_owned(),
            now: NOW.parse().unwrap(),
        };
        self.app
            .journal
            .open(Some(Surface::Aliyun), &receipt, &request)
    }

    /// A refused SendMessage.
    pub fn refuse(&self, id: &str) {
        let mut opened = self.open(id, "/", &[]);
        opened.draft.operation = Some("SendMessage".to_owned());
        opened.draft.caller = Some("testid".to_owned());
        opened.draft.error_code = Some("SignatureDoesNotMatch".to_owned());
        opened.draft.note("the signature is not the one computed");
        opened.close(&mqttstack_base::exchange::Answer::new(400));
    }
}

impl Answer {
    /// That it is a problem document with this status, type and a detail with this text.
    #[track_caller]
    pub fn is_problem(&self, status: u16, kind: &str, detail: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.kind, "application/problem+json", "{self:?}");
        assert_eq!(self.json["status"], status, "{self:?}");
        assert_eq!(self.json["type"], format!("urn:mqttstack:problem:{kind}"));
        let said = self.json["detail"].as_str().unwrap();
        assert!(said.contains(detail), "{said}");
    }
}
