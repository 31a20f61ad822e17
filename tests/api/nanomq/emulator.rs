//! NanoMQ's API where users meet it: on the edge, beside the other vendors, and on its own port.

use mqttstack::Emulator;
use mqttstack_base::exchange::Surface;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::bench::{Seen, read_answer, request};

async fn ask(url: &str, method: &str, path: &str, body: &str) -> Seen {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let bytes = request(method, path, body);
    stream.write_all(bytes.as_bytes()).await.unwrap();
    read_answer(&mut stream, false).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_on_the_edge_and_on_its_own_port() {
    let emulator = Emulator::builder().start().await.unwrap();
    let own = emulator.vendor_url(Surface::Nanomq).unwrap().to_owned();
    let edge = emulator.http_url().unwrap().to_owned();
    for url in [&edge, &own] {
        let v1 = ask(url, "POST", "/api/v1", "{\"req\":9,\"seq\":7}").await;
        assert_eq!(v1.text(), "{\"code\":108,\"seq\":7,\"rep\":9}");
        let v4 = ask(url, "GET", "/api/v4/nodes", "").await;
        assert!(v4.text().starts_with("{\"code\":0,"), "{}", v4.text());
    }
    let outside = ask(&own, "POST", "/", "").await;
    assert_eq!(outside.status_line, "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(outside.headers[0].1, "387");
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_emulator_is_one_of_its_configuration_and_counting() {
    let emulator = Emulator::builder().start().await.unwrap();
    let url = emulator.http_url().unwrap().to_owned();
    let publish = "{\"topic\":\"a\",\"payload\":\"b\"}";
    ask(&url, "POST", "/api/v4/mqtt/publish", publish).await;
    ask(&url, "POST", "/api/v4/reload", "{\"data\":{\"msq_len\":1}}").await;
    let counted = ask(&url, "POST", "/api/v1", "{\"req\":2,\"seq\":1}")
        .await
        .text();
    assert!(counted.contains("\"message_in\":1,"), "{counted}");
    emulator.reset().await;
    let counted = ask(&url, "POST", "/api/v1", "{\"req\":2,\"seq\":1}")
        .await
        .text();
    assert!(counted.contains("\"message_in\":0,"), "{counted}");
    let reload = ask(&url, "GET", "/api/v4/reload", "").await.text();
    assert!(reload.contains("\"msq_len\":2048"), "{reload}");
    emulator.stop().await;
}
