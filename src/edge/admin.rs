//! Hands a request to the admin API: converts our [`Request`] to the `http` crate's, and its response
//! to our [`Answer`]. The `http` crate refuses some targets and header fields; those get a 400.

use axum::Router;
use axum::body::{Body as AxumBody, HttpBody};
use axum::http;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use mqttstack_base::exchange::{Answer, Body, Request};
use tower::ServiceExt;

use super::problem;

/// Lets the admin API answer a request.
pub(super) async fn answer(router: Router, request: Request) -> Answer {
    let request = match convert(request) {
        Ok(request) => request,
        Err(error) => return problem::answer(400, &format!("the request is not HTTP: {error}")),
    };
    match router.oneshot(request).await {
        Ok(response) => converted(response).await,
        Err(never) => match never {},
    }
}

/// An answer as the loop writes it.
pub(super) async fn converted(response: http::Response<AxumBody>) -> Answer {
    let (parts, body) = response.into_parts();
    let mut answer = Answer::new(parts.status.as_u16());
    if answer.reason.is_empty() {
        answer.reason = parts.status.canonical_reason().unwrap_or_default().into();
    }
    for (name, value) in &parts.headers {
        // The loop frames the body itself.
        if name != http::header::CONTENT_LENGTH && name != http::header::TRANSFER_ENCODING {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            answer = answer.header(name.as_str().to_owned(), value);
        }
    }
    answer.body = whole_or_stream(body).await;
    answer
}

fn convert(request: Request) -> Result<http::Request<AxumBody>, http::Error> {
    let mut builder = http::Request::builder()
        .method(&*request.head.method)
        .uri(request.head.origin_form());
    for (name, value) in request.head.headers.iter() {
        builder = builder.header(name, &value[..]);
    }
    builder.body(AxumBody::from(request.body))
}

/// A body of known length is taken at once; of the others, a piece that fails ends the stream.
async fn whole_or_stream(body: AxumBody) -> Body {
    if body.size_hint().exact().is_some() {
        let bytes = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        return Body::Full(bytes.unwrap_or_else(|_| Bytes::new()));
    }
    let pieces = body
        .into_data_stream()
        .take_while(|piece| std::future::ready(piece.is_ok()))
        .filter_map(|piece| std::future::ready(piece.ok()));
    Body::Stream(Box::pin(pieces))
}
