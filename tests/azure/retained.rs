//! Reading retained messages over HTTP by pages. Each parameter and each refusal is an exchange
//! in `fixtures/azure`.

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
