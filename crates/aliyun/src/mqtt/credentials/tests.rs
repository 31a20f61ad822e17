//! The recorded credentials against the formulas, and the forms of a token password.

use serde_json::Value;

use super::*;

#[test]
fn every_recorded_password_is_the_signature_of_its_client_id() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/aliyun/mqtt-connect-auth.json"
    );
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut signed = 0;
    for vector in vectors["examples"].as_array().unwrap() {
        let text = |key: &str| vector[key].as_str().unwrap();
        if text("mode") == "Token" {
            assert!(tokens(text("password")).is_ok(), "{vector}");
            continue;
        }
        signed += 1;
        let made = signature(text("key").as_bytes(), text("client_id"));
        assert_eq!(made.as_deref(), Some(text("password")), "{vector}");
    }
    assert!(signed >= 4);
}

#[test]
fn a_token_password_is_pairs_in_any_order() {
    let kinds = |text| {
        tokens(text)
            .unwrap()
            .iter()
            .map(|held| held.rights.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds("R|123|W|abcd"), ["R", "W"]);
    assert_eq!(kinds("RW|tok+en/=="), ["RW"]);
    for broken in ["", "R", "R|1|W", "X|1", "r|1", "R|1|R|2"] {
        assert!(tokens(broken).is_err(), "{broken}");
    }
}
