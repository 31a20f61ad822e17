//! What cannot be said by a whole request and a whole answer: connections, limits, odd bytes,
//! and input that is meant to break something.

use mqttstack_nanomq::Settings;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::bench::{Bench, read_answer, request};

const STATISTICS: &str = "{\"req\":2,\"seq\":7}";

async fn bench() -> Bench {
    Bench::new(Settings::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_needs_no_host_and_always_closes_and_says_so_last() {
    let bench = bench().await;
    for extra in ["", "Connection: keep-alive\r\n"] {
        let bytes = format!(
            "POST /api/v1 HTTP/1.0\r\nAuthorization: Basic YWRtaW46cHVibGlj\r\n{extra}\
             Content-Type: a/b\r\nContent-Length: 17\r\n\r\n{STATISTICS}"
        );
        let all = String::from_utf8(bench.raw_to_end(bytes.as_bytes()).await).unwrap();
        let head = all.split_once("\r\n\r\n").unwrap().0;
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Type: a/b\r\nConnection: close"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let bench = bench().await;
    let mut stream = TcpStream::connect(bench.http).await.unwrap();
    let three: String = [
        request("POST", "/api/v1", "{\"req\":6,\"seq\":1}"),
        request("POST", "/api/v4/mqtt/publish", "[]"),
        request("GET", "/nothing", ""),
    ]
    .concat();
    stream.write_all(three.as_bytes()).await.unwrap();
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(read_answer(&mut stream, false).await.unwrap());
    }
    assert_eq!(bodies[0].text(), "{\"code\":108,\"seq\":1,\"rep\":6}");
    assert_eq!(bodies[1].text(), "{\"code\":109}");
    assert_eq!(bodies[2].status_line, "HTTP/1.1 404 Not Found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v1_body_of_128_kib_is_taken_and_one_byte_more_ends_the_connection() {
    let bench = bench().await;
    let start = "{\"req\":9,\"seq\":7,\"p\":\"";
    let body = format!("{start}{}\"}}", "x".repeat((128 << 10) - start.len() - 2));
    assert_eq!(body.len(), 131_072);
    assert_eq!(bench.v1(&body).await, "{\"code\":108,\"seq\":7,\"rep\":9}");
    let all = bench
        .raw_to_end(request("POST", "/api/v1", &format!("{body} ")).as_bytes())
        .await;
    let all = String::from_utf8(all).unwrap();
    assert!(
        all.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Length: 373\r\n"),
        "{all}"
    );
    assert!(!all.contains("Connection:"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_outside_the_api_is_judged_by_its_path_first() {
    let bench = bench().await;
    let big = "x".repeat(2 << 20);
    let seen = bench.ask("POST", "/nothing", &big).await;
    assert_eq!(seen.status_line, "HTTP/1.1 405 Method Not Allowed");
    let seen = bench.ask("GET", "/nothing", &"x".repeat(1025)).await;
    assert_eq!(seen.status_line, "HTTP/1.1 400 Bad Request");
    let seen = bench.ask("GET", "/nothing", &"x".repeat(1024)).await;
    assert_eq!(seen.status_line, "HTTP/1.1 404 Not Found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_counts_as_empty_and_breaks_the_connection() {
    let bench = bench().await;
    let bytes = format!(
        "POST /api/v1 HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWRtaW46cHVibGlj\r\n\
         Transfer-Encoding: chunked\r\n\r\n11\r\n{STATISTICS}\r\n0\r\n\r\n"
    );
    let all = String::from_utf8(bench.raw_to_end(bytes.as_bytes()).await).unwrap();
    assert_eq!(
        all,
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 20\r\n\r\n{\"code\":109,\"seq\":0}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_waited_for() {
    let bench = bench().await;
    let mut stream = TcpStream::connect(bench.http).await.unwrap();
    let whole = request("POST", "/api/v1", "{\"req\":9,\"seq\":7}");
    let (now, later) = whole.split_at(whole.len() - 5);
    stream.write_all(now.as_bytes()).await.unwrap();
    // Another connection is served meanwhile, and the answer comes once the rest is there.
    assert_eq!(
        bench.v1("{\"req\":9,\"seq\":8}").await,
        "{\"code\":108,\"seq\":8,\"rep\":9}"
    );
    stream.write_all(later.as_bytes()).await.unwrap();
    let seen = read_answer(&mut stream, false).await.unwrap();
    assert_eq!(seen.text(), "{\"code\":108,\"seq\":7,\"rep\":9}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_repeat_are_joined_in_v1_and_the_first_counts_in_v4() {
    let bench = bench().await;
    for (path, text, types) in [
        ("/api/v1", "{\"code\":103,\"seq\":7,\"rep\":2}", "a/b, c/d"),
        ("/api/v4/nothing", "{\"code\":102}", "a/b"),
    ] {
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWRtaW46cHVibGlj\r\n\
             Content-Type: a/b\r\nAuthorization: Basic eDp5\r\nContent-Type: c/d\r\n\
             Content-Length: 17\r\n\r\n{STATISTICS}"
        );
        let seen = bench.raw(bytes.as_bytes()).await.unwrap();
        assert_eq!(seen.text(), text);
        assert_eq!(
            seen.headers[1],
            ("Content-Type".to_owned(), types.to_owned())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_target_works_in_any_case_of_its_scheme() {
    let bench = bench().await;
    for target in [
        "http://localhost:8081/api/v1",
        "HTTP://x/api/v1/y",
        "http://x/api/v1?z=1",
    ] {
        let seen = bench.ask("POST", target, "{\"req\":9,\"seq\":7}").await;
        assert_eq!(
            seen.text(),
            "{\"code\":108,\"seq\":7,\"rep\":9}",
            "{target}"
        );
    }
}

/// What came on one connection, whole answers first, and whether it was closed behind them.
async fn edge(bench: &Bench, bytes: &[u8], answers: usize) -> (Vec<String>, bool) {
    let mut stream = TcpStream::connect(bench.http).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut lines = Vec::new();
    while lines.len() < answers {
        let Some(seen) = read_answer(&mut stream, false).await else {
            return (lines, true);
        };
        lines.push(seen.status_line);
    }
    // What it still waits for, or does not.
    let more = "\r\n\r\n".to_owned() + &request("GET", "/api/v4/brokers", "");
    let written = stream.write_all(more.as_bytes()).await;
    let closed = written.is_err() || read_answer(&mut stream, false).await.is_none();
    (lines, closed)
}

const OK: &str = "HTTP/1.1 200 OK";
const BAD: &str = "HTTP/1.1 400 Bad Request";
const VERSION: &str = "HTTP/1.1 505 HTTP Version Not Supported";

/// Measured on 0.25.5, November 2026, and after `http_msg.c` and `http_server.c` of its tag.
#[tokio::test(flavor = "multi_thread")]
async fn heads_at_the_edge_are_answered_as_the_real_programs_server_does() {
    let bench = bench().await;
    let body = "{\"topic\":\"a/b\",\"payload\":\"x\"}";
    let good = request("POST", "/api/v4/mqtt/publish", body);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replacen(from, to, 1)
    };
    let length = "Content-Length: 29";
    let cases: Vec<(&str, String, &[&str], bool)> = vec![
        ("as it should be", good.clone(), &[OK], false),
        (
            "an empty line first",
            format!("\r\n{good}"),
            &[BAD, OK],
            false,
        ),
        (
            "two empty lines",
            format!("\n\r\n{good}"),
            &[BAD, BAD, OK],
            false,
        ),
        ("HTTP/1.2", with("HTTP/1.1", "HTTP/1.2"), &[OK], true),
        ("HTTP/1.x", with("HTTP/1.1", "HTTP/1.x"), &[OK], true),
        ("HTTP/2.0", with("HTTP/1.1", "HTTP/2.0"), &[VERSION], true),
        (
            "another protocol",
            with("HTTP/1.1", "FTP/1.1"),
            &[VERSION],
            true,
        ),
        (
            "a space in the target",
            with("publish HTTP", "pub lish HTTP"),
            &[VERSION],
            true,
        ),
        ("a second space", with("POST ", "POST  "), &[VERSION], true),
        ("a tab in a value", with("Basic YW", "Basic\tYW"), &[], true),
        ("a tab in the line", with("POST ", "POST\t"), &[], true),
        (
            "a byte that is not ASCII",
            with("localhost", "l\u{f6}calhost"),
            &[],
            true,
        ),
        (
            "a field without a colon",
            with(length, &format!("No colon\r\n{length}")),
            &[],
            true,
        ),
        (
            "a lone carriage return",
            with("localhost:8081", "local\rhost"),
            &[],
            true,
        ),
        (
            "any field name",
            with(length, &format!("No Name: x\r\n{length}")),
            &[OK],
            false,
        ),
        (
            "close somewhere",
            with(length, &format!("Connection: xclosed\r\n{length}")),
            &[OK],
            true,
        ),
        (
            "a signed length",
            with(length, "Content-Length:  +29"),
            &[OK],
            false,
        ),
    ];
    for (what, bytes, answers, closed) in cases {
        let seen = edge(&bench, bytes.as_bytes(), answers.len().max(1)).await;
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        assert_eq!(seen, (answers, closed), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_none_is_a_400_and_leaves_the_connection_open() {
    let bench = bench().await;
    let good = request("POST", "/api/v4/mqtt/publish", "");
    for length in [
        "Content-Length: abc",
        "Content-Length: -1",
        "Content-Length: 0x10",
        "Content-Length: 1 2",
        "Content-Length: 0, 0",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 99999999999999999999",
        "Content-Length: 99999999",
    ] {
        let bytes = good.replacen("Content-Length: 0", length, 1);
        let (answers, closed) = edge(&bench, bytes.as_bytes(), 1).await;
        assert_eq!((&*answers[0], closed), (BAD, false), "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escaped_path_below_v4_is_the_apis_and_unknown_to_it() {
    let bench = bench().await;
    for path in [
        "/%61pi/v4/mqtt/publish",
        "/api/%764/brokers",
        "/api%2fv4/mqtt/publish",
        "/%61%70%69/v4",
        "/api/v4/mqtt/%70ublish",
        "/api/v4/%62rokers?x=1",
    ] {
        for method in ["GET", "POST", "PUT"] {
            let seen = bench
                .ask(method, path, "{\"topic\":\"a\",\"payload\":\"b\"}")
                .await;
            assert_eq!(seen.status_line, "HTTP/1.1 404 Not Found", "{path}");
            assert_eq!(seen.text(), "{\"code\":102}", "{path}");
        }
        // Credentials come first there, and other methods have a status of their own.
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let seen = bench.raw(bytes.as_bytes()).await.unwrap();
        assert_eq!(seen.text(), "{\"code\":104}", "{path}");
        let seen = bench.ask("PATCH", path, "").await;
        assert_eq!(seen.status_line, "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(seen.text(), "{\"code\":102}", "{path}");
    }
    // V1's program did not decode, and an escape that is none stays as it is.
    for path in ["/%61pi/v1", "/api/v%4", "/api/%zz/v4"] {
        let seen = bench.ask("POST", path, "{\"req\":2,\"seq\":1}").await;
        assert_eq!(seen.status_line, "HTTP/1.1 405 Method Not Allowed");
        assert_eq!(seen.headers[0].1, "387", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_space_behind_basic_is_refused_by_v4_alone() {
    let bench = bench().await;
    for (path, text) in [
        ("/api/v1", "{\"code\":108,\"seq\":7,\"rep\":6}"),
        ("/api/v4/brokers", "{\"code\":103}"),
    ] {
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Basic  YWRtaW46cHVibGlj\r\n\
             Content-Length: 17\r\n\r\n{{\"req\":6,\"seq\":7}}"
        );
        let seen = bench.raw(bytes.as_bytes()).await.unwrap();
        assert_eq!(seen.text(), text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_sent_crashes_or_hangs_it() {
    let bench = bench().await;
    let deep = "[".repeat(120_000);
    let objects = "{\"a\":".repeat(20_000);
    let mega = format!(
        "{{\"topic\":\"t\",\"payload\":\"{}\"}}",
        "\\u0041".repeat(170_000)
    );
    let bodies: Vec<String> = vec![
        deep.clone(),
        objects,
        mega,
        format!("{{\"req\":{},\"seq\":{}}}", "9".repeat(400), "9".repeat(60)),
        "{\"req\":2,\"seq\":-1e999}".to_owned(),
        "\u{0}".to_owned(),
    ];
    for body in &bodies {
        for path in [
            "/api/v1",
            "/api/v4/mqtt/publish",
            "/api/v4/reload",
            "/api/v4/configuration",
        ] {
            bench.ask("POST", path, body).await;
        }
    }
    let odd: Vec<Vec<u8>> = vec![
        b"\xff\xfe\x00\r\n\r\n".to_vec(),
        b"GET /api/v4/\xff HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        b"POST /api/v1 HTTP/1.1\r\nHost: h\r\nAuthorization: Basic \xff\r\nContent-Length: 2\r\n\r\n{}"
            .to_vec(),
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(300_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(9_000)).into_bytes(),
        b"POST /api/v1 HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /api/v1 HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"GET /api/v4/clients?=&&a=&%=%00 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec(),
    ];
    for bytes in odd {
        let mut stream = TcpStream::connect(bench.http).await.unwrap();
        // The other side may hang up before all is sent.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        read_answer(&mut stream, false).await;
    }
    assert_eq!(
        bench.v1("{\"req\":9,\"seq\":7}").await,
        "{\"code\":108,\"seq\":7,\"rep\":9}"
    );
}
