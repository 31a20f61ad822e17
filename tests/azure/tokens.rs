//! Tokens: every request that the vendor's credential classes were seen to send gets one, and
//! it can be verified with the published key.

use serde_json::{Value, json};

use crate::bench::{Ask, Bench, OBJECT_ID, bench, claims, recording, signing_key};

/// A surface that knows the application of the recordings.
async fn recorded_identity() -> Bench {
    bench(json!({"principals": [{
        "object_id": OBJECT_ID,
        "client_id": "11111111-1111-1111-1111-111111111111",
        "secret": "s3",
    }]}))
    .await
}

/// The exchanges of a recording that reached the fake, with the name of their case.
fn exchanges(name: &str) -> Vec<(String, Value)> {
    let recording = recording(name);
    let cases: Vec<(String, Value)> = match &recording["cases"] {
        Value::Object(cases) => cases.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        Value::Array(cases) => cases
            .iter()
            .map(|case| (case["credential"].to_string(), case.clone()))
            .collect(),
        _ => panic!("no cases"),
    };
    cases
        .into_iter()
        .flat_map(|(name, case)| {
            let exchanges = case["exchanges"].as_array().cloned().unwrap_or_default();
            exchanges
                .into_iter()
                .map(move |exchange| (name.clone(), exchange["request"].clone()))
        })
        .collect()
}

#[tokio::test]
async fn every_recorded_credential_gets_what_it_asked_for() {
    let bench = recorded_identity().await;
    let all = ["azure-identity-python.json", "azure-identity-js.json"];
    let all: Vec<_> = all.into_iter().flat_map(exchanges).collect();
    assert!(all.len() > 30, "{}", all.len());
    for (name, request) in all {
        let ask = Ask::recorded(&request);
        let target = ask.target.clone();
        let answer = bench.json(200, ask).await;
        if target.contains("/.well-known/") {
            let endpoint = answer["token_endpoint"].as_str().unwrap();
            assert!(
                endpoint.ends_with("/oauth2/token") || endpoint.ends_with("/oauth2/v2.0/token")
            );
        } else {
            let claims = claims(answer["access_token"].as_str().unwrap());
            assert_eq!(claims["oid"], OBJECT_ID, "{name}");
            assert_eq!(claims["aud"], "https://eventgrid.azure.net", "{name}");
            // The SDKs need a number here, the metadata service gives a string.
            let number = answer["expires_in"].is_number();
            assert_eq!(
                number,
                target.contains("/oauth2/v2.0/token"),
                "{name} {target}"
            );
        }
    }
}

#[tokio::test]
async fn instance_discovery_answers_with_the_authoritys_own_document() {
    let bench = recorded_identity().await;
    let recording = recording("azure-http-publish.json");
    let answer = bench
        .json(
            200,
            Ask::recorded(&recording["instance_discovery_request"][0]),
        )
        .await;
    assert_eq!(
        answer["tenant_discovery_endpoint"],
        "http://login.microsoftonline.com/33333333-3333-3333-3333-333333333333/v2.0/.well-known/openid-configuration"
    );
}

#[tokio::test]
async fn claims_follow_the_version_of_the_token() {
    for (version, issuer, application) in [
        (
            1,
            "https://sts.windows.net/11111111-1111-1111-1111-111111111111/",
            "appid",
        ),
        (
            2,
            "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111/v2.0",
            "azp",
        ),
    ] {
        let bench = bench(json!({"token_version": version})).await;
        let claims = claims(&bench.token().await);
        assert_eq!(claims["iss"], issuer);
        assert_eq!(claims[application], "22222222-2222-2222-2222-222222222222");
        assert_eq!(claims["tid"], "11111111-1111-1111-1111-111111111111");
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(),
            3599
        );
        assert!(claims["roles"][0].as_str().unwrap().contains("Publisher"));
    }
}

#[tokio::test]
async fn the_published_key_verifies_the_token() {
    use rsa::pkcs8::DecodePrivateKey;
    use rsa::signature::Verifier;
    use rsa::traits::PublicKeyParts;
    let bench = bench(json!({})).await;
    let token = bench.token().await;
    let keys = bench
        .json(200, Ask::get("/common/discovery/v2.0/keys"))
        .await;
    let own = rsa::RsaPrivateKey::from_pkcs8_pem(signing_key())
        .unwrap()
        .to_public_key();
    let decode = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text)
            .unwrap()
    };
    assert_eq!(
        decode(keys["keys"][0]["n"].as_str().unwrap()),
        own.n().to_bytes_be()
    );
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = rsa::pkcs1v15::Signature::try_from(&*decode(signature)).unwrap();
    rsa::pkcs1v15::VerifyingKey::<rsa::sha2::Sha256>::new(own)
        .verify(signed.as_bytes(), &signature)
        .unwrap();
}

#[tokio::test]
async fn a_key_that_is_not_configured_is_made_on_first_use_and_once() {
    let bench = crate::bench::without_key(json!({})).await;
    let refused = Ask::post("/mqtt/messages?topic=t&api-version=x")
        .header("Authorization", "Bearer e30.e30.e30");
    assert_eq!(bench.ask(refused).await.status, 401);
    let (one, two) = tokio::join!(bench.token(), bench.token());
    let keys = bench.json(200, Ask::get("/t/discovery/keys")).await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    for token in [one, two] {
        let publish = Ask::post("/mqtt/messages?topic=t&api-version=x")
            .header("Authorization", &format!("Bearer {token}"));
        assert_eq!(bench.ask(publish).await.status, 204);
    }
}
