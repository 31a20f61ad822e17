//! What conditions decide, and which texts are none.

use mqttstack_pipeline::journal::{Journal, Settings};

use super::*;

const BODY: &str = r#"{"level": "ERROR", "code": 7, "room": {"name": "kitchen", "tags": ["a", "b"]},
    "on": true, "off": false, "none": null, "text": "12", "a b": 1}"#;

fn met(text: &str, body: &[u8]) -> Result<bool, Halt> {
    ask(Condition::parse(text).unwrap(), body)
}

/// Asks as a call does, in a look of its own.
fn ask(condition: Condition, body: &[u8]) -> Result<bool, Halt> {
    let journal = Journal::new(&Settings::default());
    let body = body.to_vec();
    let look = async move {
        let work = move |looking: &mut Looking| condition.is_met_by(&body, looking);
        journal.reading().look(work).await
    };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap().block_on(look)
}

/// As `jq -e` 1.6 decides.
#[test]
fn a_condition_is_jqs() {
    for (text, met) in [
        (r#".level == "ERROR""#, true),
        (r#".level == "INFO""#, false),
        (".code > 6 and .code <= 7", true),
        (".code != 7 or .on", true),
        (".code == 7.0", true),
        (".room.name", true),
        (r#".room["tags"][1] == "b""#, true),
        (r#".room.tags[-1] == "b""#, true),
        (r#"."a b" == 1"#, true),
        (r#".["a b"] == 1"#, true),
        (".nothing.at.all == null", true),
        (".off", false),
        (".none", false),
        (".off | not", true),
        ("(.off or .on) and (.code < 10)", true),
        (r#".level | startswith("ERR")"#, true),
        (r#".level | endswith("X")"#, false),
        (r#".room.name | test("^k.*n$")"#, true),
        (r#".room.name | contains("itch")"#, true),
        (r#"has("level")"#, true),
        (r#"has("Level")"#, false),
        ("(.code) == 7", true),
        (".room.tags | length == 2", true),
        (r#"type == "object""#, true),
        (r#"select(.code == 7) | .level == "ERROR""#, true),
        ("select(.code == 8)", false),
        (".off // .on", true),
        (r#".level | ascii_downcase == "error""#, true),
        (".text | tonumber == 12", true),
        (r#".code | tostring == "7""#, true),
        // Errors: jq ends with one, so there is nothing to find.
        (".level.name", false),
        (".code | test(\"7\")", false),
        (".level.name? // true", true),
        (".room > .level", true),
        ("null < false", true),
        (".", true),
    ] {
        assert_eq!(self::met(text, BODY.as_bytes()), Ok(met), "{text}");
    }
}

#[test]
fn a_body_that_is_no_json_is_not_found() {
    assert_eq!(met(".", b"21.5 degrees"), Ok(false));
    assert_eq!(met(".", b"21.5"), Ok(true));
}

#[test]
fn what_is_not_understood_is_named() {
    for (text, part) in [
        (".level ==", "not understood"),
        ("def f: f; f", "def"),
        (".[] == 1", "not understood"),
        ("range(9)", "range"),
        ("contains({a: 1})", "{a: 1}"),
        ("..", "a name"),
        (".a b", "\"b\""),
        ("(.a", "\")\""),
        ("select", "\"(\""),
        (".level = 1", "\"= 1\""),
        (".[1.5]", "no index"),
        ("", "not understood"),
    ] {
        let problem = Condition::parse(text).unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
    let deep = format!("{}1{}", "(".repeat(100), ")".repeat(100));
    assert!(Condition::parse(&deep).unwrap_err().contains("deeper"));
    let long = ".|".repeat(1_000);
    assert!(Condition::parse(&long).unwrap_err().contains("longer"));
    let longest = format!("{}.", ".|".repeat(511));
    assert_eq!(met(&longest, b"1"), Ok(true));
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reading(text in ".*", close in r#"([().|?<>=!" \[\]/a-c0-9-]|and|or|not|select\()*"#) {
        for text in [text, close] {
            if let Ok(condition) = Condition::parse(&text) {
                ask(condition, BODY.as_bytes()).ok();
            }
        }
    }
}
