//! How NanoMQ refuses: every [`Problem`] with its status, its result code and how its body
//! looks, in one table; [`render`] is the only function that writes a refusal.
//! Row by row, the sources stand in `fixtures/nanomq/errors.json`, which a test compares.

use mqttstack_base::exchange::{Answer, Connection, Malformed, Refusal, Request, reason_phrase};
use mqttstack_kit::claim::Standing;

use super::cjson::Json;
use super::wire;

/// Everything that NanoMQ can have against a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The bytes are no HTTP/1 head, or too many: nothing is answered.
    Unreadable,
    /// HTTP/0.9, HTTP/2.0.
    Version,
    /// HTTP/1.1 without `Host`, or `Content-Length` no number.
    BadRequest,
    /// More body than the handler takes.
    BodyTooLarge,
    /// Outside the API: no such file.
    NoSuchFile,
    /// Outside the API: a method other than GET.
    NotAFileMethod,
    /// A fault of ours.
    Internal,
    /// No credentials of the kind wanted.
    NoCredentials,
    /// Credentials that are not right.
    WrongCredentials,
    /// A token past its time, or without one.
    TokenExpired,
    /// The body is not the JSON wanted.
    BodyNotJson,
    /// V1: no such request.
    UnknownRequest,
    /// V1 up to 0.6.7: no such request.
    UnknownRequest06,
    /// V4: no such path, or not with this method.
    UnknownPath,
    /// V4: none of GET, POST, PUT, DELETE.
    UnknownMethod,
    /// V4: a filter that is unknown, or its value is.
    BadFilter,
    /// V4: neither stop nor restart.
    UnknownAction,
    /// V4: no such part of the configuration.
    UnknownPart,
    /// V4: the body is not HOCON.
    NotHocon,
    /// V4: no such bridge, to change it.
    UnknownBridge,
    /// V4: no such bridge, to subscribe or unsubscribe it.
    UnknownBridgeTopics,
    /// V4: no such bridge, to switch it.
    UnknownBridgeSwitch,
    /// V4: fields of a publish or subscribe are missing or of the wrong type.
    BadParameters,
    /// V4: the broker did not take the message.
    SendFailed,
    /// V4: built without the rule engine.
    RulesOff,
    /// V4: no such client is connected (kick).
    UnknownClient,
    /// V4: no such client is connected (subscribe, unsubscribe).
    ClientOffline,
}

/// How the answer to a problem looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// No answer at all.
    Nothing,
    /// An HTML page, `Content-Length` first.
    Page,
    /// An HTML page, `Content-Type` first.
    FilePage,
    /// JSON, typed as the request was.
    Echo,
    /// JSON, typed as JSON.
    Json,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The HTTP status.
    pub status: u16,
    /// NanoMQ's result code; 0 where the body is no JSON.
    pub code: u16,
    look: Look,
    /// Where it comes from.
    pub standing: Standing,
}

impl Problem {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 27] = [
        Self::Unreadable,
        Self::Version,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::NoSuchFile,
        Self::NotAFileMethod,
        Self::Internal,
        Self::NoCredentials,
        Self::WrongCredentials,
        Self::TokenExpired,
        Self::BodyNotJson,
        Self::UnknownRequest,
        Self::UnknownRequest06,
        Self::UnknownPath,
        Self::UnknownMethod,
        Self::BadFilter,
        Self::UnknownAction,
        Self::UnknownPart,
        Self::NotHocon,
        Self::UnknownBridge,
        Self::UnknownBridgeTopics,
        Self::UnknownBridgeSwitch,
        Self::BadParameters,
        Self::SendFailed,
        Self::RulesOff,
        Self::UnknownClient,
        Self::ClientOffline,
    ];

    /// Its row of the table.
    pub const fn row(self) -> Row {
        use Look::{Echo, FilePage, Json, Nothing, Page};
        use Standing::{Assumed, Captured, Documented};
        let (status, code, look, standing) = match self {
            Self::Unreadable => (400, 0, Nothing, Captured),
            Self::Version => (505, 0, Page, Captured),
            Self::BadRequest | Self::BodyTooLarge => (400, 0, Page, Captured),
            Self::NoSuchFile => (404, 0, FilePage, Captured),
            Self::NotAFileMethod => (405, 0, Page, Captured),
            Self::Internal => (500, 0, Page, Documented),
            Self::NoCredentials => (401, 104, Echo, Captured),
            Self::WrongCredentials => (401, 103, Echo, Captured),
            Self::TokenExpired => (401, 116, Echo, Captured),
            Self::BodyNotJson => (400, 109, Echo, Captured),
            Self::UnknownRequest => (404, 108, Echo, Captured),
            Self::UnknownRequest06 => (404, 102, Echo, Documented),
            Self::UnknownPath => (404, 102, Echo, Captured),
            Self::UnknownMethod => (405, 102, Echo, Captured),
            Self::BadFilter => (400, 108, Echo, Captured),
            Self::UnknownAction | Self::UnknownPart => (404, 101, Json, Captured),
            Self::NotHocon => (400, 117, Echo, Documented),
            Self::UnknownBridge => (404, 115, Echo, Documented),
            Self::UnknownBridgeTopics => (404, 108, Echo, Documented),
            Self::UnknownBridgeSwitch => (204, 115, Echo, Documented),
            Self::BadParameters => (200, 108, Json, Captured),
            Self::SendFailed => (200, 102, Json, Documented),
            Self::RulesOff => (200, 111, Json, Captured),
            Self::UnknownClient => (404, 112, Json, Documented),
            Self::ClientOffline => (200, 112, Json, Assumed),
        };
        Row {
            status,
            code,
            look,
            standing,
        }
    }
}

/// What V1 repeats of the request in every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// The request's `seq`, as it is printed back.
    pub seq: u64,
    /// The request's `req`.
    pub rep: i32,
}

impl Echo {
    /// Of a body that could not be read: `seq` 0 and no `rep`.
    pub(crate) const UNREAD: Self = Self { seq: 0, rep: 0 };
}

/// One refusal.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct Error {
    /// What is wrong.
    pub problem: Problem,
    /// V1's echo; `None` elsewhere.
    pub echo: Option<Echo>,
    /// In words, for the journal.
    pub why: String,
}

impl Error {
    /// A refusal outside V1.
    pub fn new(problem: Problem, why: impl Into<String>) -> Self {
        Self {
            problem,
            echo: None,
            why: why.into(),
        }
    }

    /// The same refusal, said by V1.
    #[must_use]
    pub(crate) fn in_v1(mut self, echo: Echo) -> Self {
        self.echo = Some(echo);
        self
    }

    /// The code that the journal lists: NanoMQ's result code, or the status of a page.
    pub fn code(&self) -> String {
        let row = self.problem.row();
        if row.code == 0 { row.status } else { row.code }.to_string()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let problem = match &refusal {
            Refusal::Malformed(problem) => match problem {
                Malformed::Version => Problem::Version,
                Malformed::ContentLength | Malformed::BlankLine => Problem::BadRequest,
                Malformed::BodyTooLarge { .. } => Problem::BodyTooLarge,
                Malformed::Head(_)
                | Malformed::TargetTooLong { .. }
                | Malformed::HeadTooLarge { .. }
                | Malformed::TooManyFields { .. }
                | Malformed::TransferCoding
                | Malformed::HeadTimeout
                | Malformed::Chunk
                | Malformed::BodyTimeout
                | Malformed::Truncated => Problem::Unreadable,
            },
            Refusal::TooManyRequests { .. }
            | Refusal::Overloaded { .. }
            | Refusal::Unavailable(_) => Problem::SendFailed,
            Refusal::Topic(_) => Problem::BadParameters,
            Refusal::Internal(_) => Problem::Internal,
        };
        Self::new(problem, refusal.to_string())
    }
}

/// The answer to a refusal.
pub(crate) fn render(error: &Error, request: &Request) -> Answer {
    let row = error.problem.row();
    match row.look {
        Look::Nothing => Answer::new(row.status).connection(Connection::Drop),
        Look::Page => {
            let page = page(row.status);
            Answer::new(row.status)
                .header("Content-Length", page.len().to_string())
                .header("Content-Type", "text/html; charset=UTF-8")
                .body(page)
        }
        Look::FilePage => {
            let page = page(row.status);
            Answer::new(row.status)
                .header("Content-Type", "text/html; charset=UTF-8")
                .header("Content-Length", page.len().to_string())
                .body(page)
        }
        Look::Echo if error.echo.is_some() => wire::json(
            row.status,
            wire::echoed_type_v1(&request.head),
            &body(error),
        ),
        Look::Echo => wire::json(row.status, wire::echoed_type(&request.head), &body(error)),
        Look::Json => wire::json(row.status, Some(wire::JSON.to_owned()), &body(error)),
    }
}

fn body(error: &Error) -> Json {
    let code = Json::from(error.problem.row().code);
    let mut members = vec![("code", code)];
    if let Some(echo) = error.echo {
        members.push(("seq", echo.seq.into()));
        if echo.rep > 0 {
            members.push(("rep", f64::from(echo.rep).into()));
        }
    }
    if error.problem == Problem::UnknownPart {
        members.push(("data", Json::object([])));
    }
    Json::object(members)
}

/// The one HTML page of NanoMQ's HTTP server, with a code and its phrase.
fn page(status: u16) -> String {
    let phrase = reason_phrase(status);
    format!(
        "<!DOCTYPE html>\n<html><head><title>{status} {phrase}</title>\n\
         <style>body {{ font-family: Arial, sans serif; text-align: center }}\n\
         h1 {{ font-size: 36px; }}\
         span {{ background-color: gray; color: white; padding: 7px; border-radius: 5px }}\
         h2 {{ font-size: 24px; }}p {{ font-size: 20px; }}</style></head>\
         <body><p>&nbsp;</p><h1><span>{status}</span></h1><h2>{phrase}</h2><p></p></body></html>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_have_the_recorded_lengths() {
        for (status, length) in [(400, 373), (404, 369), (405, 387), (505, 403)] {
            assert_eq!(page(status).len(), length, "{status}");
        }
    }

    #[test]
    fn every_row_stands_as_its_source_says() {
        #[derive(serde::Deserialize)]
        struct Wanted {
            problem: String,
            status: u16,
            code: u16,
            standing: String,
            source: String,
        }
        let wanted = include_str!("../../../fixtures/nanomq/errors.json");
        let wanted: Vec<Wanted> = serde_json::from_str(wanted).unwrap();
        assert_eq!(wanted.len(), Problem::ALL.len());
        for (problem, wanted) in Problem::ALL.into_iter().zip(wanted) {
            let row = problem.row();
            assert_eq!(format!("{problem:?}"), wanted.problem);
            assert_eq!(
                (row.status, row.code),
                (wanted.status, wanted.code),
                "{problem:?}"
            );
            let standing = format!("{:?}", row.standing).to_lowercase();
            assert_eq!(standing, wanted.standing, "{problem:?}, {}", wanted.source);
        }
    }

    #[test]
    fn every_refusal_with_a_result_code_answers_in_json() {
        for problem in Problem::ALL {
            let row = problem.row();
            let json = matches!(row.look, Look::Echo | Look::Json);
            assert_eq!(json, row.code != 0, "{problem:?}");
        }
    }
}
