//! Reads the parameters and the body of an admin request, strictly: an unknown parameter or member,
//! an impossible value, or a parameter given twice is refused by name.

use std::str::FromStr;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::response::IntoResponse;
use bytes::Bytes;
use mqttstack_kit::wording::{self, Language};
use serde::de::DeserializeOwned;

use super::MAX_BODY;
use super::problem::Problem;

/// The parameters of a query string, each at most once.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|why| Problem::parameter("query", why.body_text()))?;
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(other, _)| other == name) {
                return Err(Problem::parameter(name, "it is given twice"));
            }
        }
        Ok(Self(pairs))
    }
}

impl Parameters {
    /// Refuses every parameter that is not in `known`.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        match self
            .0
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            None => Ok(self),
            Some((name, _)) if known.is_empty() => Err(Problem::parameter(
                name,
                "unknown parameter; this path takes no parameters",
            )),
            Some((name, _)) => Err(Problem::parameter(
                name,
                format!("unknown parameter; known are {}", known.join(", ")),
            )),
        }
    }

    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A whole number, read as `T`.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    let why = format!("expected a whole number of 0 or more, got {text:?}");
                    Problem::parameter(name, why)
                })
            })
            .transpose()
    }
}

/// That there is no query: a parameter that nobody reads would promise what is not done.
#[derive(Debug)]
pub(super) struct NoParameters;

impl<S: Send + Sync> FromRequestParts<S> for NoParameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Parameters::from_request_parts(parts, state)
            .await?
            .only(&[])?;
        Ok(Self)
    }
}

/// The id in the path.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|why| Problem::parameter("id", why.body_text()))?;
        Ok(Self(id))
    }
}

/// A JSON body, whatever its content type; an empty one counts as `{}`.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|why| body_problem(&why))?;
        let bytes = bytes.trim_ascii();
        let bytes = if bytes.is_empty() { b"{}" } else { bytes };
        // serde would read an array as the members in their order.
        if !bytes.starts_with(b"{") {
            return Err(Problem::BadBody("expected a JSON object".to_owned()));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let read = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            let why = wording::plain(&error.inner().to_string(), Language::Json);
            Problem::BadBody(match &*path {
                "." | "?" => why,
                path if why.starts_with(path) => why,
                path => format!("{path}: {why}"),
            })
        })?;
        deserializer
            .end()
            .map_err(|why| Problem::BadBody(wording::plain(&why.to_string(), Language::Json)))?;
        Ok(Self(read))
    }
}

fn body_problem(why: &BytesRejection) -> Problem {
    // The rejection's variants are private to axum; its status tells them apart.
    if why.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        Problem::TooLarge { limit: MAX_BODY }
    } else {
        Problem::BadBody(why.body_text())
    }
}

/// What a handler gives back.
pub(super) type Answered<T> = Result<T, Problem>;

/// The fallback of unknown paths.
pub(super) async fn unknown_route(request: Request) -> impl IntoResponse {
    Problem::UnknownRoute(request.uri().path().to_owned())
}

/// The fallback of known paths and other methods.
pub(super) async fn method_not_allowed(request: Request) -> impl IntoResponse {
    Problem::MethodNotAllowed(request.method().to_string())
}
