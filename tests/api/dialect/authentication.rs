//! Enhanced authentication (MQTT 5.0 section 4.12), at the CONNECT and later.

use std::sync::Arc;

use async_trait::async_trait;
use mqttstack_base::exchange::Surface;
use mqttstack_broker::dialect::{Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Limits};

use super::bench;
use crate::wire::{self, AUTH, Wire, packet, properties, text};

/// Knows one authentication method; the data says what to answer.
pub struct Tokens;

#[async_trait]
impl Dialect for Tokens {
    fn surface(&self) -> Surface {
        Surface::Azure
    }

    fn claims(&self, connect: &Connect) -> bool {
        connect.authentication_method.as_deref() == Some("JWT")
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        match connect.authentication_data.as_deref() {
            Some(token @ (b"good" | b"better")) => Ok(Grant {
                surface: Some(Surface::Azure),
                tenant: None,
                identity: String::from_utf8(token.to_vec()).unwrap(),
                max_keep_alive: None,
                limits: Limits::default(),

                ..Grant::default()
            }),
            _ => Err(ConnectRefusal {
                code: ConnectCode::NotAuthorized,
                reason: "the token has expired".into(),
            }),
        }
    }
}

pub fn asking(token: &str) -> Vec<u8> {
    [&[0x15][..], &text("JWT"), &[0x16], &text(token)].concat()
}

pub fn reauthenticate(token: &str) -> Vec<u8> {
    packet(AUTH, &[&[0x19], &properties(&asking(token))])
}

#[tokio::test]
async fn enhanced_authentication_admits_a_good_token_and_renews_it_on_the_connection() {
    let bench = bench().await;
    bench.broker.add_dialect(Arc::new(Tokens));
    let mut connect = wire::Connect::new(5, "c");
    connect.properties = asking("good");
    connect.will = Some((0, vec![], "will".into(), "gone".into()));
    let (mut client, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 0);
    let method = [&[0x15][..], &text("JWT")].concat();
    assert!(connack.has(&method), "{connack:?}");
    assert_eq!(client.subscribe("t", 1).await, 1);
    let listed = bench.broker.clients().await;
    assert_eq!(listed[0].identity.as_deref(), Some("good"));
    assert_eq!(listed[0].will.as_ref().unwrap().topic, "will");
    client.send(&reauthenticate("better")).await;
    let (first, body) = client.read().await.unwrap();
    assert_eq!((first, body[0]), (AUTH, 0));
    assert!(body.windows(method.len()).any(|window| window == method));
    let listed = bench.broker.clients().await;
    assert_eq!(listed[0].identity.as_deref(), Some("better"));
    client.publish("t", "still here", 2, &[]).await;
    assert_eq!(client.receive().await.payload, "still here");
}

#[tokio::test]
async fn enhanced_authentication_refuses_a_bad_token_at_connect_and_later() {
    let bench = bench().await;
    bench.broker.add_dialect(Arc::new(Tokens));
    let mut connect = wire::Connect::new(5, "c");
    connect.properties = asking("bad");
    let (mut client, connack) = Wire::connect(bench.address, &connect).await;
    assert_eq!(connack.code, 0x87);
    client.ended().await;
    assert_eq!(bench.refusal().reason, "the token has expired");
    connect.properties = asking("good");
    let (mut client, _) = Wire::connect(bench.address, &connect).await;
    client.send(&reauthenticate("bad")).await;
    assert_eq!(client.disconnected().await, 0x87);
    let refusal = bench.refusal();
    assert_eq!((refusal.packet, refusal.code), ("AUTH", 0x87));
}

#[tokio::test]
async fn an_auth_that_nothing_led_up_to_ends_the_connection() {
    let bench = bench().await;
    bench.broker.add_dialect(Arc::new(Tokens));
    let mut connect = wire::Connect::new(5, "c");
    connect.properties = asking("good");
    let other_method = [&[0x15][..], &text("SCRAM")].concat();
    for (auth, code) in [
        (packet(AUTH, &[&[0x18], &properties(&asking("good"))]), 0x82),
        (packet(AUTH, &[&[0x19], &properties(&other_method)]), 0x8c),
        (packet(AUTH, &[&[0x77]]), 0x81),
    ] {
        let (mut client, _) = Wire::connect(bench.address, &connect).await;
        client.send(&auth).await;
        assert_eq!(client.disconnected().await, code);
    }
}
