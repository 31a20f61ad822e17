//! `$SYS`: the broker's own figures, and that they are not messages.

use mqttstack_broker::Settings;

use crate::bench::{Bench, bench};
use crate::wire::Wire;

async fn telling_every(sys_interval_s: u32) -> Bench {
    let settings = Settings {
        sys_interval_s,
        ..Settings::default()
    };
    bench(settings).await
}

#[tokio::test]
async fn a_subscriber_gets_the_figures_at_once_and_again_at_the_interval() {
    let bench = telling_every(1).await;
    let mut client = Wire::open(bench.address, 4, "c").await;
    client.publish("t", "kept", 3, &[]).await;
    client.subscribe("$SYS/#", 1).await;
    let mut seen = vec![];
    for _ in 0..9 {
        let arrived = client.receive().await;
        assert!(arrived.retain, "{arrived:?}");
        seen.push((arrived.topic, arrived.payload));
    }
    let figure = |topic: &str| {
        let found = seen.iter().find(|(name, _)| name.ends_with(topic));
        found.map(|(_, value)| value.as_str())
    };
    let version = concat!("mqttstack ", env!("CARGO_PKG_VERSION"));
    assert_eq!(figure("$SYS/broker/version"), Some(version));
    assert_eq!(figure("clients/connected"), Some("1"));
    assert_eq!(figure("messages/received"), Some("1"));
    assert_eq!(figure("subscriptions/count"), Some("1"));
    assert_eq!(figure("retained messages/count"), Some("1"));
    assert!(figure("uptime").is_some_and(|uptime| uptime.ends_with(" seconds")));
    let again = client.receive().await;
    assert!(!again.retain);
    assert_eq!(again.topic, "$SYS/broker/version");
    assert_eq!(
        bench.journal.messages().since(0).len(),
        1,
        "figures are no messages"
    );
    assert_eq!(bench.broker.counters().messages_in, 1);
    assert_eq!(bench.broker.counters().messages_out, 0);
    assert_eq!(bench.broker.retained().len(), 1);
}

#[tokio::test]
async fn a_wildcard_does_not_match_the_figures_and_an_interval_of_0_turns_them_off() {
    let silent = telling_every(0).await;
    let mut client = Wire::open(silent.address, 5, "c").await;
    client.subscribe("$SYS/#", 1).await;
    client.subscribe("#", 1).await;
    client.publish("t", "only", 2, &[]).await;
    assert_eq!(client.receive().await.payload, "only");
    let bench = telling_every(1).await;
    let mut client = Wire::open(bench.address, 5, "c").await;
    client.subscribe("#", 1).await;
    let mut other = Wire::open(bench.address, 5, "other").await;
    other.subscribe("$SYS/broker/uptime", 0).await;
    // One at once, one at the interval; the other client would have had it too by now.
    other.receive().await;
    other.receive().await;
    client.publish("t", "only", 2, &[]).await;
    assert_eq!(client.receive().await.payload, "only");
}
