//! Reading retained messages over HTTP: one, and lists by pages.

use serde_json::{Value, json};

use crate::bench::{Ask, Bench, bench};

const VERSION: &str = "api-version=2025-11-16-preview";

async fn with_retained(count: usize) -> Bench {
    let bench = bench(json!({"auth": "off"})).await;
    for n in 0..count {
        let ask = Ask::post(&format!("/mqtt/messages?topic=r/{n:03}&retain=1&{VERSION}"))
            .header("mqtt-message-expiry", "100")
            .body("kept");
        assert_eq!(bench.ask(ask).await.status, 204);
    }
    bench
}

#[tokio::test]
async fn one_message_comes_with_its_properties_as_headers() {
    let bench = with_retained(1).await;
    let answer = bench
        .ask(Ask::get(&format!(
            "/mqtt/retainedMessages/message?topic=r/000&{VERSION}"
        )))
        .await;
    assert_eq!(
        (answer.status, &*answer.body.bytes()),
        (200, b"kept".as_slice())
    );
    let header = |name| answer.header_value(name).unwrap();
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("x-ms-mqtt-topic"), "r/000");
    assert_eq!(header("x-ms-mqtt-qos"), "1");
    assert_eq!(header("x-ms-mqtt-size"), "9");
    assert_eq!(header("x-ms-mqtt-expiry"), "2026-11-21T22:52:40Z");
    assert_eq!(header("x-ms-mqtt-last-modified"), "2026-11-21T22:51:00Z");
    let none = bench
        .json(
            404,
            Ask::get(&format!(
                "/mqtt/retainedMessages/message?topic=none&{VERSION}"
            )),
        )
        .await;
    assert_eq!(none["error"]["code"], "NotFound");
}

#[tokio::test]
async fn pages_follow_one_another_until_there_is_no_next_link() {
    let bench = with_retained(5).await;
    let mut target = format!("/mqtt/retainedMessages?topicFilter=r/%2B&maxResults=2&{VERSION}");
    let mut seen = Vec::new();
    for pages in 1.. {
        let page = bench.json(200, Ask::get(&target)).await;
        for row in page["retainedMessages"].as_array().unwrap() {
            seen.push(row["topic"].as_str().unwrap().to_owned());
            assert_eq!((&row["qos"], &row["size"]), (&json!(1), &json!(9)));
        }
        let Value::String(link) = &page["nextLink"] else {
            assert_eq!(pages, 3);
            break;
        };
        target = link
            .strip_prefix("http://127.0.0.1:4580")
            .unwrap()
            .to_owned();
    }
    assert_eq!(seen, ["r/000", "r/001", "r/002", "r/003", "r/004"]);
}

#[tokio::test]
async fn wrong_pages_are_refused() {
    let bench = with_retained(0).await;
    for query in [
        "topicFilter=a&continuationToken=b",
        "continuationToken=!",
        "maxResults=0",
        "maxResults=101",
        "topicFilter=a%23",
    ] {
        let answer = bench
            .json(
                400,
                Ask::get(&format!("/mqtt/retainedMessages?{query}&{VERSION}")),
            )
            .await;
        assert_eq!(answer["error"]["code"], "BadRequest", "{query}");
    }
}
