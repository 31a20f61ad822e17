//! Queries as the vendor's page and templates write them.

use std::collections::BTreeMap;

use super::*;

fn holds(query: &str) -> bool {
    let attributes = BTreeMap::from([
        ("type".to_owned(), Attribute::Text("sensor".to_owned())),
        ("floor".to_owned(), Attribute::Integer(7)),
        (
            "tags".to_owned(),
            Attribute::List(vec!["a".to_owned(), "b".to_owned()]),
        ),
    ]);
    Query::parse(query).unwrap().holds(Identity {
        authentication_name: "dev1",
        attributes: Some(&attributes),
    })
}

#[test]
fn attributes_and_the_name_are_compared() {
    assert!(holds("attributes.type = 'sensor'"));
    assert!(holds(
        "attributes.type = \"sensor\" and attributes.floor >= 7"
    ));
    assert!(holds("authenticationName IN ['dev0', 'dev1']"));
    assert!(holds("attributes.floor <> 8 AND attributes.floor < 8"));
    assert!(holds("attributes.tags = 'b'") && !holds("attributes.tags = 'c'"));
    assert!(!holds("attributes.floor = '7'"));
    assert!(!holds("attributes.missing = 'x'") && !holds("attributes.missing <> 'x'"));
    assert!(!holds(""));
}

#[test]
fn an_authentication_name_has_no_case_and_an_attribute_has() {
    assert!(holds("AuthenticationName = 'DEV1'") && !holds("authenticationName <> 'Dev1'"));
    assert!(holds("authenticationName in [\"x\",\"Dev1\"]"));
    assert!(!holds("authenticationName = 1") && !holds("authenticationName > 'a'"));
    assert!(!holds("attributes.type = 'SENSOR'") && !holds("attributes.Type = 'sensor'"));
}

#[test]
fn every_form_of_the_grammar_is_read() {
    assert!(holds("attributes.floor IN [ 6, 7 ]") && !holds("attributes.floor IN ['7']"));
    assert!(holds(
        "attributes.floor>-8 AND attributes.floor<=7 AND attributes.floor!=8"
    ));
    assert!(holds("attributes.tags IN ['x', \"b\"]") && holds("attributes.tags <> 'c'"));
    assert!(holds(
        "attributes.type <> 'it''s' and attributes.type <> \"a 'b' or c\""
    ));
    assert!(holds(
        "((attributes.floor = 1) or (attributes.type='sensor'))"
    ));
    assert!(!holds("attributes.type > 'a'") && !holds("attributes.floor < '8'"));
    let quote = Query::parse("authenticationName = 'it''s'").unwrap();
    assert!(quote.holds(Identity {
        authentication_name: "it's",
        attributes: None,
    }));
}

#[test]
fn a_query_of_very_many_terms_is_read_like_any_other() {
    for word in [" or ", " and "] {
        let most = vec!["attributes.floor = 7"; 320].join(word);
        assert!(holds(&most));
        let long = vec!["attributes.floor = 7"; 50_000].join(word);
        let why = Query::parse(&long).unwrap_err();
        assert!(why.contains("the limit is 8192"), "{why}");
    }
}

#[test]
fn and_binds_tighter_than_or_and_parentheses_tighter_still() {
    assert!(holds(
        "attributes.floor = 7 or attributes.floor = 7 and attributes.type = 'x'"
    ));
    assert!(!holds(
        "(attributes.floor = 7 or attributes.floor = 7) and attributes.type = 'x'"
    ));
}

#[test]
fn a_broken_query_says_what_is_wrong() {
    for (query, why) in [
        ("type = 'x'", "neither attributes.x"),
        ("attributes. = 'x'", "neither attributes.x"),
        ("attributes.a-b = 'x'", "neither attributes.x"),
        ("attributes.a = x", "quotes"),
        ("attributes.a = 'x", "not closed"),
        ("attributes.a ~ 1", "unexpected"),
        ("(attributes.a = 1", "parenthesis"),
        ("attributes.a =", "too early"),
        ("attributes.a IN 'x'", "brackets"),
    ] {
        let error = Query::parse(query).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(Query::parse(&"(".repeat(10_000)).is_err());
}
