//! NanoMQ's HTTP API: V1 (`/api/v1`, up to 0.8.0) byte for byte, and V4 (`/api/v4`, 0.25.5).
//! [`Nanomq`] is the vendor; `api/v1.rs` and `api/v4.rs` say what can be asked, `auth.rs` who
//! calls, `error.rs` how it refuses, `configuration/` the document it shows, `cjson/` how it
//! reads and prints JSON. Its facts stand in the recordings under `fixtures/nanomq/`.

mod api;
mod auth;
mod cjson;
mod configuration;
mod error;
mod settings;
mod state;
mod wire;

use jiff::Timestamp;
use mqttstack_base::exchange::{
    Answer, BodyPolicy, Connection, Head, Malformed, Receipt, Request, Surface, Version,
};
use mqttstack_base::message::Counters;
use mqttstack_kit::auth::AuthMode;
use mqttstack_kit::key::Key;
use mqttstack_kit::token::Verifier;
use mqttstack_pipeline::{Vendor, Walk};
use percent_encoding::percent_decode_str;

pub use auth::AuthType;
pub use error::{Error, Problem};
pub use settings::{Generation, Overlay, Serve, SetConfig, Settings, SettingsError};

use api::{v1, v4};
use auth::Reading;
use state::State;

/// The longest head that NanoMQ's HTTP server takes; more is dropped without an answer.
const MAX_HEAD: usize = 8192;
/// The longest body of a V1 request.
const MAX_BODY_V1: usize = 128 << 10;
/// The longest body of a request for a file.
const MAX_BODY_FILE: usize = 1 << 10;
/// How much body of a request that is refused unseen is read over.
const MAX_BODY_UNSEEN: usize = 1 << 20;

/// NanoMQ's HTTP API over our broker.
#[derive(Debug)]
pub struct Nanomq {
    settings: Settings,
    state: State,
    key: Option<Key>,
    verifier: Verifier,
    issuer: String,
}

/// A request that was understood and allowed.
#[derive(Debug)]
pub enum Call {
    /// Of V1.
    V1(v1::Call),
    /// Of V4.
    V4(v4::Call),
}

/// Whose path it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tree {
    V1,
    V4,
    Files,
}

impl Nanomq {
    /// As configured. Fails on a public key that is needed and missing, or cannot be read.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check_documents()?;
        Ok(Self {
            key: settings.public_key()?,
            verifier: Verifier::default(),
            state: State::new(&settings),
            issuer: settings.issuer(),
            settings,
        })
    }

    /// Notes when it started, for the uptime; otherwise the first request counts as the start.
    pub fn started(&self, now: Timestamp) {
        self.state.start(now);
    }

    /// Back to the configuration of the start.
    pub fn reset(&self) {
        self.state.reset();
        self.verifier.clear();
    }

    /// Counts messages and connections from these figures of the broker on; the broker itself
    /// never starts its totals again.
    pub fn count_from(&self, counters: Counters) {
        self.state.count_from(counters);
    }

    /// 0.8.0 goes by the path as it came (captured), 0.25.5 by the decoded one (measured,
    /// November 2026): there an escaped path below `/api/v4` is the API's, which then knows no
    /// such path.
    fn tree(&self, head: &Head) -> Tree {
        let path = head.path();
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let within = |path: &str, root: &str| {
            path.strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if within(path, "/api/v1") && self.settings.api != Serve::V4 {
            Tree::V1
        } else if within(&decoded, "/api/v4") && self.settings.api != Serve::V1 {
            Tree::V4
        } else {
            Tree::Files
        }
    }

    /// Judges the caller; the header is V1's (all joined) or V4's (the first).
    fn authenticate(
        &self,
        header: Option<&str>,
        reading: Reading,
        basic_only: bool,
        walk: &mut Walk<'_>,
    ) -> Result<(), Error> {
        if self.settings.auth == AuthMode::Off {
            walk.draft
                .hint("nanomq.auth is off: the credentials were not checked");
            return Ok(());
        }
        let login = self.state.login();
        let judged = if login.auth_type == AuthType::Basic || basic_only {
            auth::basic(header, reading, &login.username, &login.password)
                .map(|()| login.username.clone())
        } else {
            let (key, verifier) = (self.key.as_ref(), &self.verifier);
            let (issuer, now) = (&self.issuer, walk.receipt.now);
            auth::bearer(header, reading, key, verifier, issuer, now).map(str::to_owned)
        };
        match judged {
            Ok(caller) => {
                walk.draft.caller = Some(caller);
                Ok(())
            }
            Err(problem) => Err(Error::new(
                problem,
                self.why_denied(problem, login.auth_type),
            )),
        }
    }

    fn why_denied(&self, problem: Problem, auth_type: AuthType) -> String {
        match (problem, auth_type) {
            (Problem::NoCredentials, AuthType::Basic) => {
                "there is no Authorization header that begins with \"Basic \" in this spelling"
                    .to_owned()
            }
            (Problem::NoCredentials, AuthType::Jwt) => {
                "there is no Authorization header that begins with \"Bearer \" in this spelling"
                    .to_owned()
            }
            (Problem::TokenExpired, _) => {
                "the token has no exp, or is more than 200 s past it".to_owned()
            }
            (_, AuthType::Basic) => {
                "what stands behind \"Basic \" does not decode to the configured user:password \
                 exactly (V4 knows no second space)"
                    .to_owned()
            }
            (_, AuthType::Jwt) if self.key.is_none() => {
                "there is no readable nanomq.jwt_public_keyfile to check tokens with".to_owned()
            }
            (_, AuthType::Jwt) => format!(
                "the token is not signed RS256 with the configured key, or its iss is not {:?}",
                self.issuer
            ),
        }
    }
}

/// What the HTTP server itself finds wrong with a head that could be read.
fn judge_head(head: &Head) -> Result<(), Error> {
    if head.size > MAX_HEAD {
        let why = format!(
            "the head has {} bytes; NanoMQ drops heads over about 8 KiB",
            head.size
        );
        return Err(Error::new(Problem::Unreadable, why));
    }
    if head.version == Version::Http11 && head.headers.get("host").is_none() {
        return Err(Error::new(
            Problem::BadRequest,
            "HTTP/1.1 without a Host header",
        ));
    }
    Ok(())
}

/// Outside the API NanoMQ serves the files of `./dist`, and there are none.
fn refuse_file(head: &Head) -> Error {
    if matches!(&*head.method, "GET" | "HEAD") {
        Error::new(
            Problem::NoSuchFile,
            "outside /api/v1 and /api/v4 there are no files",
        )
    } else {
        Error::new(
            Problem::NotAFileMethod,
            "outside /api/v1 and /api/v4 only GET is known",
        )
    }
}

impl Vendor for Nanomq {
    const SURFACE: Surface = Surface::Nanomq;
    type Call = Call;
    type Error = Error;

    fn body_policy(&self, head: &Head) -> BodyPolicy {
        let max_body = match self.tree(head) {
            Tree::V1 => MAX_BODY_V1,
            Tree::V4 => self.settings.max_body,
            Tree::Files if matches!(&*head.method, "GET" | "HEAD") => MAX_BODY_FILE,
            Tree::Files => MAX_BODY_UNSEEN,
        };
        BodyPolicy {
            max_body,
            chunked: false,
            expect_continue: false,
            ends: false,
        }
    }

    async fn admit(&self, walk: &mut Walk<'_>) -> Result<Call, Error> {
        self.state.start(walk.receipt.now);
        let head = &walk.request.head;
        judge_head(head)?;
        match self.tree(head) {
            Tree::V1 => v1::admit(self, walk).map(Call::V1),
            Tree::V4 => v4::admit(self, walk).map(Call::V4),
            Tree::Files => Err(refuse_file(head)),
        }
    }

    async fn perform(&self, call: Call, walk: &mut Walk<'_>) -> Result<Answer, Error> {
        let answer = match call {
            Call::V1(call) => v1::perform(self, call, walk).await,
            Call::V4(call) => v4::perform(self, call, walk).await?,
        };
        Ok(parting(answer, &walk.request.head))
    }

    fn names_request(&self) -> bool {
        self.settings.request_id_header
    }

    fn error_code(&self, error: &Error) -> String {
        error.code()
    }

    fn render(&self, error: &Error, request: &Request, _receipt: &Receipt) -> Answer {
        // A request whose body was not read is judged by its head first, as NanoMQ does.
        let before_the_body = match &request.malformed {
            Some(Malformed::BodyTooLarge { .. } | Malformed::ContentLength) => {
                let file = self.tree(&request.head) == Tree::Files;
                let method = !matches!(&*request.head.method, "GET" | "HEAD");
                judge_head(&request.head)
                    .err()
                    .or_else(|| (file && method).then(|| refuse_file(&request.head)))
            }
            _ => None,
        };
        let error = before_the_body.as_ref().unwrap_or(error);
        let answer = parting(error::render(error, request), &request.head);
        match (answer.connection, error.problem) {
            (Connection::Keep, Problem::Version) => answer.connection(Connection::Close),
            // What is left of another request is read as the next one.
            _ => answer,
        }
    }
}

/// HTTP/1.0 connections end with the answer, whatever they ask for, and those where `close` stands
/// anywhere in a Connection field (`http_server.c`).
fn parting(answer: Answer, head: &Head) -> Answer {
    let asked = head.headers.all("connection").any(|value| {
        let mut parts = value.windows(b"close".len());
        parts.any(|part| part.eq_ignore_ascii_case(b"close"))
    });
    if (asked || head.version == Version::Http10) && answer.connection == Connection::Keep {
        answer.connection(Connection::Close)
    } else {
        answer
    }
}
