//! Who may connect: the recorded credentials, every mode with a right and a wrong password, device
//! credentials, groups, custom identities.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_credential_is_let_in_and_its_neighbour_is_not() {
    let token = |text: &str, actions: &str| Token {
        token: Secret::new(text),
        resources: vec!["TopicA/#".to_owned()],
        actions: actions.to_owned(),
        expires: None,
    };
    let mut settings = Settings::default();
    settings
        .access_keys
        .push(AccessKey::with_secret("YYYYY", "XXXXX"));
    settings.instances[0].tokens = vec![token("tok+en/==", "R,W")];
    settings.instances.push(Instance {
        groups: vec!["GID_Test".to_owned()],
        device_credentials: vec![DeviceCredential {
            client_id: "GID_Test@@@0001".to_owned(),
            access_key_id: "YYYYY".to_owned(),
            access_key_secret: Secret::new("XXXXX"),
        }],
        tokens: vec![token("123", "R"), token("abcd", "W")],
        ..Instance::empty("mqtt-xxxxx")
    });
    let bench = bench(settings).await;
    for vector in vectors() {
        let text = |key: &str| vector[key].as_str().unwrap();
        let (client, username, password) = (text("client_id"), text("username"), text("password"));
        bench.visit(client, username, password).await;
        let (other, wrong, reason) = match text("mode") {
            // The password is another client's.
            "Signature" => (
                format!("{client}x"),
                password.to_owned(),
                "password is not the HMAC of the client id",
            ),
            "DeviceCredential" => (
                format!("{client}x"),
                password.to_owned(),
                "is that of client \"GID_Test@@@0001\"",
            ),
            // It is nobody's.
            _ => (
                client.to_owned(),
                format!("{password}x"),
                "none that ApplyToken gave out",
            ),
        };
        bench.refused(&other, username, &wrong, reason).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mistake_behind_a_wrong_password_is_named_in_every_mode_that_signs() {
    let bench = bench(Settings::default()).await;
    let client = [("ClientId", CLIENT)];
    let made = bench.ok("RegisterDeviceCredential", &client).await;
    let made = |key: &str| made["DeviceCredential"][key].as_str().unwrap().to_owned();
    let identity = [
        ("Username", "alice"),
        ("IdentityType", "USER"),
        ("Secret", "wonder"),
        ("SignMode", "SIGNED"),
    ];
    bench.ok("AddCustomAuthIdentity", &identity).await;
    let of_device = format!("DeviceCredential|{}|{INSTANCE}", made("DeviceAccessKeyId"));
    for (username, secret) in [
        (USERNAME, "testsecret"),
        (&of_device, &*made("DeviceAccessKeySecret")),
        ("alice", "wonder"),
    ] {
        for (text, mistake) in [
            ("GID_test", "it is the HMAC of the group id"),
            ("dev1", "it is the HMAC of the device id"),
            (username, "it is the HMAC of the user name"),
        ] {
            let reason = format!("password is not the HMAC of the client id: {mistake}");
            bench
                .refused(CLIENT, username, &sign(secret, text), &reason)
                .await;
        }
        bench.visit(CLIENT, username, &sign(secret, CLIENT)).await;
    }
    // Of two secrets mixed up.
    let password = sign("testsecret", CLIENT);
    let reason = "its key is the secret of access key";
    bench.refused(CLIENT, &of_device, &password, reason).await;
    // An identity of the other sign mode, both ways.
    let reason = "it is the secret itself";
    bench.refused(CLIENT, "alice", "wonder", reason).await;
    let mut origin = identity;
    origin[3].1 = "ORIGIN";
    bench.ok("UpdateCustomAuthIdentity", &origin).await;
    let reason = "the identity's SignMode is ORIGIN";
    bench
        .refused(CLIENT, "alice", &sign("wonder", CLIENT), reason)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_names_the_mistake_behind_a_wrong_password() {
    let bench = bench(Settings::default()).await;
    assert_eq!(sign("testsecret", CLIENT), PASSWORD);
    let bytes = BASE64_STANDARD.decode(PASSWORD).unwrap();
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    for (password, reason) in [
        (
            sign("testsecret", "GID_test"),
            "it is the HMAC of the group id",
        ),
        (
            sign("testsecret", "dev1"),
            "it is the HMAC of the device id",
        ),
        (sign("testsecret&", CLIENT), "the secret with & behind it"),
        (hex.concat(), "it is in hexadecimal"),
        ("testsecret".to_owned(), "it is the secret itself"),
        (format!("{PASSWORD}\n"), "there is white space around it"),
        (PASSWORD.trim_end_matches('=').to_owned(), "no = at the end"),
        (
            PASSWORD.replace('+', "-").replace('/', "_"),
            "the one for URLs",
        ),
        (
            PASSWORD.replace('+', "%2b").replace('=', "%3d"),
            "escaped as in a URL",
        ),
        (PASSWORD.replace('+', " "), "escaped as in a URL"),
        (
            format!("'{PASSWORD}'"),
            "there are quotation marks around it",
        ),
        (BASE64_STANDARD.encode(PASSWORD), "encoded in Base64 twice"),
        (sign("other", CLIENT), "it is not the one under the secret"),
        (String::new(), "it is empty"),
    ] {
        bench.refused(CLIENT, USERNAME, &password, reason).await;
        assert!(!bench.last_reason().contains("testsecret"));
    }
}

/// User names that are wrong in mode, access key or instance.
const WRONG_USERS: [&str; 17] = [
    "Signatur|testid|post-cn-test0001",
    "SIGNATURE|testid|post-cn-test0001",
    "Sign|testid|post-cn-test0001|x",
    "Token|testid|post-cn-test0001",
    "DeviceCredential|testid|post-cn-test0001",
    "|testid|post-cn-test0001",
    " Signature|testid|post-cn-test0001",
    "testid|post-cn-test0001",
    "testid",
    "",
    "Signature|testi|post-cn-test0001",
    "Signature|STS.nosuch|post-cn-test0001",
    "Signature||post-cn-test0001",
    "Signature|testid|post-cn-test000",
    "Signature|testid|post-cn-test0001 ",
    "Signature|testid|",
    "Signature|testid",
];

/// Passwords that are not the right one, which is `right`.
fn wrong_passwords(right: &str) -> Vec<String> {
    let bytes = BASE64_STANDARD.decode(right).unwrap();
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let digits = digits.concat();
    vec![
        String::new(),
        "testsecret".to_owned(),
        sign("other", CLIENT),
        sign("testsecret", "GID_test@@@dev2"),
        BASE64_STANDARD.encode(&digits),
        digits,
        BASE64_STANDARD.encode(right),
        right.replace('+', "-").replace('/', "_"),
        right.trim_end_matches('=').to_owned(),
        right.replace('+', "%2B").replace('=', "%3D"),
        right.replace('+', " "),
        format!("\"{right}\""),
        right.to_ascii_lowercase(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_wrong_in_any_one_part_are_refused() {
    let bench = bench(strict()).await;
    let right = sign("testsecret", CLIENT);
    let named = |client: &str, user: &str, password: &str| {
        let user = Some(user.to_owned());
        (client.to_owned(), user, password.to_owned())
    };
    let users = WRONG_USERS.map(|user| named(CLIENT, user, &right));
    let ids = [
        "GID_tes@@@dev1",
        "gid_test@@@dev1",
        "GID_test@@dev1",
        "GID_test@@@",
        "dev1",
    ];
    let ids = ids.map(|id| named(id, USERNAME, &sign("testsecret", id)));
    let passwords = wrong_passwords(&right).into_iter();
    let passwords = passwords.map(|password| named(CLIENT, USERNAME, &password));
    let others = [
        (CLIENT.to_owned(), None, right.clone()),
        named("dev1", "S|testid|post-cn-test0001", &right),
        named("dev1", "a|testid|post-cn-test0001|b|c", &right),
    ];
    let all = users.into_iter().chain(ids).chain(passwords).chain(others);
    for (client, username, password) in all {
        for version in [3, 4, 5] {
            // Before MQTT 5 there is no password without a user name.
            if username.is_none() && version < 5 {
                continue;
            }
            let connect = wire::Connect {
                username: username.clone(),
                password: Some(password.clone().into()),
                ..wire::Connect::new(version, &client)
            };
            let (mut wire, connack) = Wire::connect(bench.mqtt, &connect).await;
            assert_ne!(connack.code, 0, "{client} {username:?} {password}");
            wire.ended().await;
            let (_, entry) = bench.emulator.requests().since(0).pop().unwrap();
            let surface = Some(Surface::Aliyun);
            assert_eq!(entry.surface, surface, "{client} {username:?}");
            assert!(!bench.last_reason().contains("testsecret"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_user_names_and_client_ids_are_refused() {
    let bench = bench(strict()).await;
    for (client, username, reason) in [
        (
            CLIENT,
            "Signature|testid",
            "is not Signature|AccessKeyId|InstanceId",
        ),
        (
            CLIENT,
            "Signature|testid|a|b",
            "is not Signature|AccessKeyId|InstanceId",
        ),
        (
            CLIENT,
            "signature|testid|post-cn-test0001",
            "must be written Signature",
        ),
        (
            CLIENT,
            "Signature|nosuch|post-cn-test0001",
            "no access key \"nosuch\"",
        ),
        (
            CLIENT,
            "Signature|testid|nosuch",
            "instance \"nosuch\" is not configured",
        ),
        ("dev1", USERNAME, "is not of the form GroupID@@@DeviceID"),
        ("GID_none@@@dev1", USERNAME, "has no group \"GID_none\""),
    ] {
        let password = sign("testsecret", client);
        bench.refused(client, username, &password, reason).await;
    }
    let long = format!("GID_test@@@{}", "d".repeat(54));
    let password = sign("testsecret", &long);
    bench
        .refused(&long, USERNAME, &password, "65 characters, 64 are allowed")
        .await;
    bench.device(&long[..64]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_credential_lets_its_client_in_until_it_is_refreshed_or_removed() {
    let bench = bench(Settings::default()).await;
    let client = [("ClientId", CLIENT)];
    assert_eq!(
        bench.code("GetDeviceCredential", &client).await,
        "DeviceCredentialNotFound"
    );
    let registered = bench.ok("RegisterDeviceCredential", &client).await;
    assert_eq!(
        bench.code("RegisterDeviceCredential", &client).await,
        "DeviceCredentialExsit"
    );
    let keys = |answer: &Value| {
        let text = |key: &str| answer["DeviceCredential"][key].as_str().unwrap().to_owned();
        let username = format!("DeviceCredential|{}|{INSTANCE}", text("DeviceAccessKeyId"));
        (username, sign(&text("DeviceAccessKeySecret"), CLIENT))
    };
    let (username, password) = keys(&registered);
    bench.visit(CLIENT, &username, &password).await;
    let refreshed = bench.ok("RefreshDeviceCredential", &client).await;
    bench
        .refused(CLIENT, &username, &password, "it may have been refreshed")
        .await;
    let (username, password) = keys(&refreshed);
    bench.visit(CLIENT, &username, &password).await;
    let list = [("GroupId", "GID_test"), ("PageSize", "10")];
    let listed = bench.ok("ListDeviceCredentialClientId", &list).await;
    assert_eq!(
        listed["DeviceCredentialClientIdList"]["ClientIdList"][0],
        CLIENT
    );
    bench.ok("UnRegisterDeviceCredential", &client).await;
    bench
        .refused(CLIENT, &username, &password, "has no device credential")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_group_keeps_its_clients_and_refuses_new_ones() {
    let bench = bench(Settings::default()).await;
    let group = [("GroupId", "GID_test")];
    assert_eq!(
        bench.code("CreateGroupId", &group).await,
        "GroupIdAlreadyExsited"
    );
    let mut device = bench.device(CLIENT).await;
    bench.ok("DeleteGroupId", &group).await;
    device.publish("TopicA", 1, false, "still here").await;
    bench
        .refused(
            "GID_test@@@new",
            USERNAME,
            &sign("testsecret", "GID_test@@@new"),
            "was deleted",
        )
        .await;
    bench.ok("CreateGroupId", &group).await;
    bench.device("GID_test@@@new").await;
    assert_eq!(
        bench.ok("ListGroupId", &[]).await["Data"][0]["GroupId"],
        "GID_test"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_identities_have_the_permissions_that_they_were_given_and_no_others() {
    let bench = bench(Settings::default()).await;
    let identity = |mode| {
        [
            ("Username", "alice"),
            ("IdentityType", "USER"),
            ("Secret", "wonder"),
            ("SignMode", mode),
        ]
    };
    bench.ok("AddCustomAuthIdentity", &identity("ORIGIN")).await;
    let rule = [
        ("Identity", "alice"),
        ("IdentityType", "USER"),
        ("Topic", "TopicA/#"),
        ("PermitAction", "SUB"),
        ("Effect", "ALLOW"),
    ];
    bench.ok("AddCustomAuthPermission", &rule).await;
    let mut device = bench.connect(CLIENT, "alice", "wonder").await.unwrap();
    assert_eq!(device.subscribe("TopicA/x", 1).await, [1]);
    assert!(!device.try_publish("TopicA/x", 1, false, "no").await);
    assert!(
        bench
            .last_reason()
            .contains("no permission of user \"alice\"")
    );
    bench
        .refused(CLIENT, "alice", "wrong", "not the identity's secret")
        .await;
    bench
        .ok("UpdateCustomAuthIdentity", &identity("SIGNED"))
        .await;
    let signed = sign("wonder", CLIENT);
    bench.offline(CLIENT).await;
    bench.visit(CLIENT, "alice", &signed).await;
    bench
        .ok("AddCustomAuthConnectBlack", &[("ClientId", CLIENT)])
        .await;
    bench.refused(CLIENT, "alice", &signed, "blacklist").await;
    let found = bench
        .ok("QueryCustomAuthPermission", &[("Size", "10")])
        .await;
    assert_eq!(found["Data"]["Results"][0]["PermitAction"], "SUB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_name_that_is_nobodys_lets_no_client_of_the_product_in() {
    let bench = bench(Settings::default()).await;
    let identity = [("Username", "alice"), ("IdentityType", "USER")];
    let secret = [("Secret", "wonder"), ("SignMode", "ORIGIN")];
    let whole = [identity, secret].concat();
    bench.ok("AddCustomAuthIdentity", &whole).await;
    bench.visit(CLIENT, "alice", "wonder").await;
    let reason = r#"known identities are {"alice"}"#;
    for username in ["alic", "testid", "Signatur|testid|post-cn-test0001"] {
        bench.refused(CLIENT, username, "wonder", reason).await;
    }
    let username = "signature/testid|x|post-cn-test0001";
    bench.refused("dev1", username, "wonder", reason).await;
    bench.ok("DeleteCustomAuthIdentity", &identity).await;
    let reason = "nor an identity of custom authentication";
    bench.refused(CLIENT, "alice", "wonder", reason).await;
    bench
        .visit(CLIENT, "tenant:aliyun/post-cn-test0001", "")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permission_on_the_parent_topic_is_enough_for_p2p() {
    let bench = bench(Settings::default()).await;
    let identity = [
        ("Username", "alice"),
        ("IdentityType", "USER"),
        ("Secret", "wonder"),
        ("SignMode", "ORIGIN"),
    ];
    bench.ok("AddCustomAuthIdentity", &identity).await;
    let rule = |effect| {
        [
            ("Identity", "alice"),
            ("IdentityType", "USER"),
            ("Topic", "TopicA"),
            ("PermitAction", "PUB"),
            ("Effect", effect),
        ]
    };
    bench.ok("AddCustomAuthPermission", &rule("ALLOW")).await;
    let mut device = bench.connect(CLIENT, "alice", "wonder").await.unwrap();
    let mine = format!("TopicA/p2p/{CLIENT}");
    device.publish(&mine, 1, false, "mine").await;
    assert_eq!(device.receive().await.topic, mine);
    bench.ok("UpdateCustomAuthPermission", &rule("DENY")).await;
    assert!(!device.try_publish(&mine, 1, false, "no").await);
    assert!(bench.last_reason().contains("denies it"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_connack_code_in_both_protocol_versions() {
    let bench = bench(strict()).await;
    bench
        .ok(
            "AddCustomAuthConnectBlack",
            &[("ClientId", "GID_test@@@black")],
        )
        .await;
    let long = format!("GID_test@@@{}", "d".repeat(54));
    for (client, username, secret, codes) in [
        (CLIENT, USERNAME, "wrong", (4, 0x86)),
        (CLIENT, "Signature|testid", "testsecret", (4, 0x86)),
        (
            CLIENT,
            "Signature|nosuch|post-cn-test0001",
            "testsecret",
            (4, 0x86),
        ),
        (CLIENT, "Signature|testid|nosuch", "testsecret", (5, 0x87)),
        (
            CLIENT,
            "Token|testid|post-cn-test0001",
            "testsecret",
            (4, 0x86),
        ),
        (
            CLIENT,
            "DeviceCredential|DC.x|post-cn-test0001",
            "testsecret",
            (4, 0x86),
        ),
        ("dev1", USERNAME, "testsecret", (2, 0x85)),
        ("GID_test@@@", USERNAME, "testsecret", (2, 0x85)),
        (&long, USERNAME, "testsecret", (2, 0x85)),
        ("GID_none@@@dev1", USERNAME, "testsecret", (5, 0x87)),
        ("GID_test@@@black", USERNAME, "testsecret", (5, 0x8a)),
    ] {
        let password = sign(secret, client);
        for (version, code) in [(3, codes.0), (4, codes.0), (5, codes.1)] {
            let (mut wire, connack) = bench.knock(version, client, (username, &password)).await;
            assert_eq!(
                connack.code, code,
                "{client} {username} in version {version}"
            );
            wire.ended().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connack_of_mqtt_5_says_what_the_product_does_without() {
    let bench = bench(Settings::default()).await;
    let (_wire, connack) = bench.knock(5, CLIENT, (USERNAME, PASSWORD)).await;
    assert_eq!(connack.code, 0);
    // Retain Available 0, Shared Subscription Available 0, Maximum Packet Size 128 KiB.
    for property in [&[0x25, 0][..], &[0x2a, 0], &[0x27, 0, 2, 0, 0]] {
        assert!(connack.has(property), "{property:x?} in {connack:x?}");
    }
    // Maximum QoS is 2, wildcards and subscription identifiers are available: each is said by
    // silence or by 1 (MQTT 5.0 section 3.2.2.3).
    for property in [&[0x24, 0][..], &[0x24, 1], &[0x28, 0], &[0x29, 0]] {
        assert!(!connack.has(property), "{property:x?} in {connack:x?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_into_being_for_a_client_that_proves_nothing() {
    let bench = bench(Settings::default()).await;
    let (_, connack) = bench
        .knock(4, "GID_new@@@1", ("Signature|testid|post-cn-new", "wrong"))
        .await;
    assert_eq!(connack.code, 4);
    let listed = bench.ok("ListInstances", &[]).await;
    assert_eq!(listed["Instances"].as_array().unwrap().len(), 1);
    let groups = bench.ok("ListGroupId", &[]).await;
    assert_eq!(groups["Data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_configured_token_must_be_one() {
    let refused = |token: &str, resource: &str, actions: &str| {
        let mut settings = Settings::default();
        settings.instances[0].tokens = vec![Token {
            token: Secret::new(token),
            resources: vec![resource.to_owned()],
            actions: actions.to_owned(),
            expires: None,
        }];
        let problem = mqttstack_aliyun::Aliyun::new(settings).unwrap_err();
        assert_eq!(problem.key, "aliyun.instances[0].tokens[0]");
        problem.problem
    };
    assert_eq!(
        refused("a|b", "TopicA", "R"),
        "a token is not empty and has no |"
    );
    assert!(refused("a", "#", "R").starts_with("resource \"#\""));
    assert!(refused("a", "TopicA", "RW").contains("none of R, W and R,W"));
}

/// A CONNECT over TLS to an instance's own host name.
async fn knock_at(bench: &Bench, host: &str, client_id: &str, login: (&str, &str)) -> u8 {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bench.emulator.ca_pem().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    // Whoever comes second finds the same provider there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(bench.emulator.mqtts_addr().unwrap()).await;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream.unwrap())
        .await
        .unwrap();
    let connect = wire::Connect {
        username: Some(login.0.to_owned()).filter(|name| !name.is_empty()),
        password: Some(login.1.into()).filter(|_| !login.0.is_empty()),
        ..wire::Connect::new(4, client_id)
    };
    let (_, connack) = Wire::connect_over(stream, &connect).await;
    connack.code
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instances_own_host_name_must_be_that_of_the_user_name() {
    let bench = bench(Settings::default()).await;
    let own = "post-cn-test0001.mqtt.aliyuncs.com";
    let private = "post-cn-test0001-internal-vpc.mqtt.aliyuncs.com";
    for host in [own, private, "localhost"] {
        let code = knock_at(&bench, host, CLIENT, (USERNAME, PASSWORD)).await;
        assert_eq!(code, 0, "{host}");
    }
    let other = "post-cn-other.mqtt.aliyuncs.com";
    assert_eq!(
        knock_at(&bench, other, CLIENT, (USERNAME, PASSWORD)).await,
        5
    );
    let reason = bench.last_reason();
    assert!(
        reason.contains("the TLS server name for \"post-cn-other\""),
        "{reason}"
    );
    // Nobody is an open client at an instance's door.
    assert_eq!(knock_at(&bench, own, "anybody", ("", "")).await, 4);
    assert!(bench.last_reason().contains("known identities are {}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_says_whose_client_brings_its_token_later() {
    let settings = Settings {
        token_after_connect: true,
        ..Settings::default()
    };
    let bench = bench(settings).await;
    let host = "post-cn-new.mqtt.aliyuncs.com";
    assert_eq!(knock_at(&bench, host, "GID_new@@@1", ("", "")).await, 0);
    let listed = bench.ok("ListInstances", &[]).await;
    assert_eq!(listed["Instances"][0]["InstanceId"], "post-cn-new");
}
