//! MQTT over WebSocket: everything that holds over TCP, and what WebSocket alone can do wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use mqttstack_base::message::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::authentication::{Tokens, asking, reauthenticate};
use super::{Bench, bench, tls_ends};
use crate::mqtt::PATIENCE;
use crate::wire::{AUTH, Connect, Stream, Wire, packet, text};

type Socket<S> = WebSocketStream<S>;

/// The bench with a port for WebSocket, and its address.
async fn web_bench() -> (Bench, SocketAddr) {
    let bench = bench().await;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = bench.broker.listen(Transport::Ws, anywhere).unwrap();
    (bench, address)
}

/// A handshake on any stream; the subprotocols as the header has them.
async fn shake<S: Stream>(stream: S, path: &str, offered: &str) -> Result<Socket<S>, Error> {
    let mut request = format!("ws://broker{path}").into_client_request().unwrap();
    let offered = offered.parse().unwrap();
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", offered);
    let (socket, answer) = client_async(request, stream).await?;
    let chosen = answer.headers()["Sec-WebSocket-Protocol"].to_str().unwrap();
    assert!(["mqtt", "mqttv3.1"].contains(&chosen));
    Ok(socket)
}

async fn socket(address: SocketAddr) -> Socket<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    shake(stream, "/mqtt", "mqtt").await.unwrap()
}

/// The bytes in the frames of a socket, for `Wire`.
fn bytes_of<S: Stream + 'static>(mut socket: Socket<S>) -> DuplexStream {
    let (here, mut there) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        loop {
            tokio::select! {
                read = there.read(&mut buffer) => match read {
                    Ok(length) if length > 0 => {
                        let bytes = buffer[..length].to_vec();
                        if socket.send(Message::Binary(bytes.into())).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => there.write_all(&bytes).await.unwrap(),
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    });
    here
}

async fn connect(address: SocketAddr, connect: &Connect) -> (Wire, u8) {
    let (wire, connack) = Wire::connect_over(bytes_of(socket(address).await), connect).await;
    (wire, connack.code)
}

async fn open(address: SocketAddr, version: u8) -> Wire {
    let (wire, code) = connect(address, &Connect::new(version, "v-1")).await;
    assert_eq!(code, 0);
    wire
}

#[tokio::test]
async fn every_version_is_spoken_on_any_path_and_with_either_subprotocol() {
    let (bench, address) = web_bench().await;
    for version in [3, 4, 5] {
        for (path, offered) in [
            ("/mqtt", "mqtt"),
            ("/", "mqttv3.1"),
            ("/any/path?x=1", "soap, mqtt"),
        ] {
            let stream = TcpStream::connect(address).await.unwrap();
            let local = stream.local_addr().unwrap();
            let socket = shake(stream, path, offered).await.unwrap();
            let connect = Connect::new(version, "v-1");
            let (mut client, _) = Wire::connect_over(bytes_of(socket), &connect).await;
            assert_eq!(client.subscribe("t", 2).await, 1);
            client.publish("t", "x", 4, &[]).await;
            assert_eq!(client.receive().await.payload, "x");
            let listed = bench.broker.clients().await;
            assert_eq!(listed[0].transport, Transport::Ws);
            assert_eq!(listed[0].peer, Some(local));
            client.leave().await;
        }
    }
}

#[tokio::test]
async fn over_secure_websocket_a_dialect_sees_what_tls_told() {
    let bench = bench().await;
    let (_, server, client) = tls_ends();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = bench
        .broker
        .listen_tls(Transport::Wss, anywhere, Arc::new(server))
        .unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("broker.test").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = connector.connect(name, stream).await.unwrap();
    let socket = shake(stream, "/mqtt", "mqtt").await.unwrap();
    let connect = Connect::new(5, "v-1");
    let (mut client, _) = Wire::connect_over(bytes_of(socket), &connect).await;
    assert_eq!(bench.broker.clients().await[0].transport, Transport::Wss);
    assert!(bench.broker.kick("v-1").await);
    assert_eq!(client.disconnected().await, 0x98);
}

#[tokio::test]
async fn enhanced_authentication_and_its_renewal_work_over_websocket() {
    let (bench, address) = web_bench().await;
    bench.broker.add_dialect(Arc::new(Tokens));
    let mut asked = Connect::new(5, "c");
    asked.properties = asking("good");
    let (mut client, code) = connect(address, &asked).await;
    assert_eq!(code, 0);
    client.send(&reauthenticate("better")).await;
    let (first, body) = client.read().await.unwrap();
    assert_eq!((first, body[0]), (AUTH, 0));
    client.send(&reauthenticate("bad")).await;
    assert_eq!(client.disconnected().await, 0x87);
    asked.properties = asking("bad");
    let (mut client, code) = connect(address, &asked).await;
    assert_eq!(code, 0x87);
    client.ended().await;
}

#[tokio::test]
async fn a_client_over_websocket_reads_why_its_connection_ends() {
    let (bench, address) = web_bench().await;
    let mut client = open(address, 5).await;
    assert!(bench.broker.kick("v-1").await);
    assert_eq!(client.disconnected().await, 0x98);
    let mut client = open(address, 5).await;
    let above = client.publish_bytes("t", "x", 2, &[0x23, 0, 0]);
    client.send(&above).await;
    assert_eq!(client.disconnected().await, 0x94);
    let mut old = open(address, 4).await;
    assert!(bench.broker.kick("v-1").await);
    old.ended().await;
}

#[tokio::test]
async fn a_refused_connect_gets_the_code_over_websocket() {
    let (bench, address) = web_bench().await;
    for (version, code) in [(3, 4), (4, 4), (5, 0x86)] {
        let (mut client, told) = connect(address, &Connect::new(version, "v-bad")).await;
        assert_eq!(told, code);
        client.ended().await;
        assert_eq!(bench.refusal().code, code);
    }
}

async fn next(socket: &mut Socket<TcpStream>) -> Message {
    let message = timeout(PATIENCE, socket.next()).await;
    message.unwrap().expect("the socket closed").unwrap()
}

#[tokio::test]
async fn packets_span_frames_and_share_them_and_a_ping_between_is_answered() {
    let (_bench, address) = web_bench().await;
    let mut socket = socket(address).await;
    for byte in Connect::new(4, "v-1").bytes() {
        socket
            .send(Message::Binary(vec![byte].into()))
            .await
            .unwrap();
    }
    let connack = Message::Binary(vec![0x20, 2, 0, 0].into());
    assert_eq!(next(&mut socket).await, connack);
    let ping = Message::Ping(b"between".to_vec().into());
    socket.send(ping).await.unwrap();
    let pong = Message::Pong(b"between".to_vec().into());
    assert_eq!(next(&mut socket).await, pong);
    let pings = Message::Binary([0xc0, 0].repeat(50).into());
    socket.send(pings).await.unwrap();
    let mut answers = vec![];
    while answers.len() < 100 {
        answers.extend(next(&mut socket).await.into_data());
    }
    assert_eq!(answers, [0xd0, 0].repeat(50));
}

#[tokio::test]
async fn a_large_packet_passes_both_ways() {
    let (_bench, address) = web_bench().await;
    let mut client = open(address, 4).await;
    client.subscribe("t", 0).await;
    let payload = "x".repeat(1_000_000);
    client.publish("t", &payload, 2, &[]).await;
    assert!(client.take().await.payload == payload);
}

/// What comes until the socket is closed: the bytes, and the code of the close frame.
async fn farewell(mut socket: Socket<TcpStream>) -> (Vec<u8>, Option<CloseCode>) {
    let mut bytes = vec![];
    loop {
        match timeout(PATIENCE, socket.next())
            .await
            .expect("it stays open")
        {
            Some(Ok(Message::Close(frame))) => return (bytes, frame.map(|frame| frame.code)),
            Some(Ok(message)) => bytes.extend(message.into_data()),
            other => panic!("closed without a close frame: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_text_frame_is_a_protocol_error() {
    let (bench, address) = web_bench().await;
    let mut before = socket(address).await;
    before.send(Message::Text("hello".into())).await.unwrap();
    let (told, code) = farewell(before).await;
    assert_eq!((told.len(), code), (0, Some(CloseCode::Unsupported)));
    let refusal = bench.refusal();
    assert_eq!((refusal.packet, refusal.code), ("CONNECT", 0x82));
    let mut later = socket(address).await;
    let connect = Connect::new(5, "v-1").bytes();
    later.send(Message::Binary(connect.into())).await.unwrap();
    next(&mut later).await;
    later.send(Message::Text("hello".into())).await.unwrap();
    let (told, code) = farewell(later).await;
    assert_eq!((told[0], told[2]), (0xe0, 0x82));
    assert_eq!(code, Some(CloseCode::Unsupported));
    let refusal = bench.refusal();
    assert_eq!((refusal.packet, refusal.code), ("WEBSOCKET", 0x82));
    assert!(refusal.reason.contains("text frame"), "{refusal:?}");
}

#[tokio::test]
async fn a_frame_that_is_too_large_or_not_masked_ends_the_connection_at_its_header() {
    let (bench, address) = web_bench().await;
    // Binary, masked, of 1 TiB; binary, not masked, of five bytes.
    let huge = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    for (header, code, close) in [
        (&huge[..], 0x95, CloseCode::Size),
        (b"\x82\x05hello", 0x82, CloseCode::Protocol),
    ] {
        let mut socket = socket(address).await;
        let connect = Connect::new(5, "v-1").bytes();
        socket.send(Message::Binary(connect.into())).await.unwrap();
        next(&mut socket).await;
        socket.get_mut().write_all(header).await.unwrap();
        let (told, closed) = farewell(socket).await;
        assert_eq!((told[0], told[2]), (0xe0, code));
        assert_eq!(closed, Some(close));
        assert_eq!(bench.refusal().code, code);
    }
}

#[tokio::test]
async fn a_socket_that_is_closed_without_a_disconnect_leaves_the_will() {
    let (bench, address) = web_bench().await;
    let mut watcher = Wire::open(bench.address, 4, "watcher").await;
    watcher.subscribe("will", 0).await;
    let mut connect = Connect::new(4, "v-1");
    connect.will = Some((0, vec![], "will".into(), "gone".into()));
    let mut socket = socket(address).await;
    socket
        .send(Message::Binary(connect.bytes().into()))
        .await
        .unwrap();
    next(&mut socket).await;
    socket.close(None).await.unwrap();
    // The close is answered, and the connection ends.
    while let Some(message) = timeout(PATIENCE, socket.next()).await.unwrap() {
        assert!(matches!(message, Ok(Message::Close(_))), "{message:?}");
    }
    assert_eq!(watcher.take().await.payload, "gone");
}

/// Everything that the port answers to these bytes.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_in_http() {
    let (bench, address) = web_bench().await;
    let upgrade = "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let thirteen = "Sec-WebSocket-Version: 13\r\n";
    for (request, status, words) in [
        (
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            426,
            "upgrade",
        ),
        (
            format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n\r\n"),
            426,
            "13",
        ),
        (format!("{upgrade}{thirteen}\r\n"), 400, "Sec-WebSocket-Key"),
        (format!("{upgrade}{thirteen}{key}\r\n"), 400, "subprotocol"),
        (
            format!("{upgrade}{thirteen}{key}Sec-WebSocket-Protocol: soap\r\n\r\n"),
            400,
            "subprotocol",
        ),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400, "GET"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 400, "HTTP version"),
        (
            "\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c\r\n\r\n".to_owned(),
            400,
            "MQTT over WebSocket",
        ),
    ] {
        let told = answer(address, request.as_bytes()).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{told}"
        );
        assert_eq!(head.contains("\r\nupgrade: websocket"), status == 426);
        assert!(body.contains(words), "{told}");
    }
    let many = format!("{upgrade}{}\r\n", "x: y\r\n".repeat(20_000));
    let told = answer(address, many.as_bytes()).await;
    assert!(
        told.is_empty() || told.starts_with("HTTP/1.1 400 "),
        "{told}"
    );
    assert!(bench.broker.clients().await.is_empty());
}

#[tokio::test]
async fn handshakes_that_stop_half_way_hold_nobody_up() {
    let (_bench, address) = web_bench().await;
    let head = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n";
    let mut stalled = vec![];
    for length in 0..head.len() {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&head[..length]).await.unwrap();
        stalled.push(stream);
    }
    let mut client = open(address, 5).await;
    client.subscribe("t", 1).await;
    client.publish("t", "x", 2, &[]).await;
    assert_eq!(client.receive().await.payload, "x");
}

#[tokio::test]
async fn frames_that_are_noise_leave_the_port_serving() {
    let (bench, address) = web_bench().await;
    let mut state = 7_u64;
    let mut noise = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    for round in 0..300 {
        let mut socket = socket(address).await;
        if round % 2 == 0 {
            let connect = Connect::new(5, "v-1").bytes();
            socket.send(Message::Binary(connect.into())).await.unwrap();
        }
        let bytes: Vec<u8> = (0..40).map(|_| noise()).collect();
        // The broker may have closed, or reset, before it has read everything.
        let _ = socket.get_mut().write_all(&bytes).await;
        let _ = socket.get_mut().shutdown().await;
        let mut rest = vec![];
        let read = socket.get_mut().read_to_end(&mut rest);
        let _ = timeout(PATIENCE, read).await.expect("it stays open");
    }
    let mut client = open(address, 4).await;
    client.subscribe("t", 1).await;
    client.publish("t", "x", 2, &[]).await;
    assert_eq!(client.receive().await.payload, "x");
    client.leave().await;
    bench.broker.clear_sessions().await;
    assert!(bench.broker.clients().await.is_empty());
}

#[tokio::test]
async fn a_stop_closes_the_port_and_its_connections() {
    let (bench, address) = web_bench().await;
    let mut client = open(address, 5).await;
    let subscribe = packet(0x82, &[&[0, 9, 0], &text("t"), &[1]]);
    client.send(&subscribe).await;
    assert_eq!(client.answer().await.0, 0x90);
    bench.broker.stop().await;
    client.ended().await;
    assert!(TcpStream::connect(address).await.is_err());
}
