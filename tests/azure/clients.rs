//! Client resources and the names of all resources, as the vendor's pages allow them, put over the
//! resource manager one by one and in a template.

use serde_json::{Value, json};

use crate::bench::{Ask, Bench, bench};

const NAMESPACE: &str =
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces/nsname";

fn at(path: &str) -> String {
    format!("{NAMESPACE}{path}?api-version=2025-02-15")
}

fn put(path: &str, properties: &Value) -> Ask {
    let body = json!({"properties": properties});
    Ask::new("PUT", &at(path)).body(body.to_string())
}

fn by_subject() -> Value {
    json!({"clientCertificateAuthentication": {"validationScheme": "SubjectMatchesAuthenticationName"}})
}

fn with(name: &str, value: Value) -> Value {
    let mut properties = by_subject();
    properties[name] = value;
    properties
}

/// What a refused PUT is told.
async fn refused(bench: &Bench, path: &str, properties: &Value) -> String {
    let answer = bench.json(400, put(path, properties)).await;
    assert_eq!(answer["error"]["code"], "BadRequest");
    let message = answer["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(bench.reasons().lines().next(), Some(&*message));
    message
}

#[tokio::test]
async fn a_client_shows_what_nobody_has_set() {
    let bench = bench(json!({})).await;
    let created = bench
        .json(
            201,
            put(
                "/clients/Dev_1.a:b",
                &json!({"clientCertificateAuthentication": {}}),
            ),
        )
        .await;
    assert_eq!(
        created["properties"],
        json!({
            "authenticationName": "Dev_1.a:b",
            "state": "Enabled",
            "clientCertificateAuthentication": {"validationScheme": "SubjectMatchesAuthenticationName"},
            "attributes": {},
            "provisioningState": "Succeeded",
        })
    );
    let shown = bench.json(200, Ask::get(&at("/clients/Dev_1.a:b"))).await;
    assert_eq!(shown, created);
}

#[tokio::test]
async fn a_client_must_say_how_its_certificate_is_checked() {
    let bench = bench(json!({})).await;
    for properties in [
        json!({}),
        json!({"authenticationName": "c"}),
        json!({"clientCertificateAuthentication": null}),
    ] {
        let told = refused(&bench, "/clients/c", &properties).await;
        assert!(
            told.contains("clientCertificateAuthentication is missing"),
            "{told}"
        );
    }
    let template = json!([{"type": "Microsoft.EventGrid/namespaces/clients", "name": "nsname/c", "properties": {}}]);
    let ask = Ask::new("PUT", &at("")).body(template.to_string());
    bench.json(400, ask).await;
    bench.json(404, Ask::get(&at("/clients/c"))).await;
}

#[tokio::test]
async fn an_authentication_name_is_unique_and_stays() {
    let bench = bench(json!({})).await;
    bench.json(201, put("/clients/c1", &by_subject())).await;
    bench
        .json(
            201,
            put("/clients/c2", &with("authenticationName", json!("Other"))),
        )
        .await;
    for (path, name) in [("/clients/c3", "C1"), ("/clients/c3", "oTHER")] {
        let told = refused(&bench, path, &with("authenticationName", json!(name))).await;
        assert!(
            told.contains("two clients have the authenticationName"),
            "{told}"
        );
    }
    let told = refused(
        &bench,
        "/clients/C1",
        &with("authenticationName", json!("x")),
    )
    .await;
    assert!(
        told.contains("cannot be changed: it is \"c1\", the request has \"x\""),
        "{told}"
    );
    // Its name in another case, and none at all, are no change.
    for name in [json!("other"), Value::Null] {
        let shown = bench
            .json(200, put("/clients/c2", &with("authenticationName", name)))
            .await;
        assert_eq!(shown["properties"]["authenticationName"], "Other");
    }
}

#[tokio::test]
async fn thumbprints_belong_to_their_scheme() {
    let bench = bench(json!({})).await;
    let scheme = |name: &str, thumbprints: Value| json!({"clientCertificateAuthentication": {"validationScheme": name, "allowedThumbprints": thumbprints}});
    let good = "A1".repeat(20);
    for (properties, why) in [
        (
            scheme("SubjectMatchesAuthenticationName", json!([good])),
            "only for the validationScheme ThumbprintMatch",
        ),
        (
            scheme("", json!([good])),
            "only for the validationScheme ThumbprintMatch",
        ),
        (
            scheme("ThumbprintMatch", json!(["xyz"])),
            "is not 40 or 64 hexadecimal digits",
        ),
        (
            scheme("ThumbprintMatch", json!([good, "G".repeat(40)])),
            "is not 40 or 64 hexadecimal digits",
        ),
    ] {
        let told = refused(&bench, "/clients/c", &properties).await;
        assert!(told.contains(why), "{told}");
    }
    let two = json!([good, "b2".repeat(32)]);
    bench
        .json(201, put("/clients/c", &scheme("ThumbprintMatch", two)))
        .await;
}

#[tokio::test]
async fn names_have_the_characters_and_lengths_of_their_kind() {
    let bench = bench(json!({"namespaces": [{"topics": [{"name": "events"}]}]})).await;
    let query = json!({"query": "attributes.a = 1"});
    let templates = json!({"topicTemplates": ["a"]});
    let subscription = json!({});
    for (kind, properties, good, bad) in [
        (
            "clients",
            by_subject(),
            vec!["a".to_owned(), "x".repeat(128), "a-b:c.d_e".to_owned()],
            vec![
                "a%20b".to_owned(),
                "x".repeat(129),
                "a%2Fb".to_owned(),
                "a@b".to_owned(),
                "%C3%BC".to_owned(),
            ],
        ),
        (
            "clientGroups",
            query,
            vec!["abc".to_owned(), "x".repeat(50), "a-1".to_owned()],
            vec![
                "ab".to_owned(),
                "x".repeat(51),
                "a_b".to_owned(),
                "a.b".to_owned(),
                "a%20b".to_owned(),
                "$all".to_owned(),
                "$ALL".to_owned(),
            ],
        ),
        (
            "topicSpaces",
            templates,
            vec!["abc".to_owned(), "x".repeat(50)],
            vec![
                "ab".to_owned(),
                "x".repeat(51),
                "a_b".to_owned(),
                "a%20b".to_owned(),
            ],
        ),
        (
            "topics",
            json!({}),
            vec!["t1".to_owned()],
            vec!["a%20b".to_owned(), "x".repeat(51)],
        ),
        (
            "topics/events/eventSubscriptions",
            subscription,
            vec!["s1".to_owned(), "x".repeat(64)],
            vec!["a%20b".to_owned(), "x".repeat(65)],
        ),
    ] {
        for name in good {
            bench
                .json(201, put(&format!("/{kind}/{name}"), &properties))
                .await;
        }
        for name in bad {
            let told = refused(&bench, &format!("/{kind}/{name}"), &properties).await;
            assert!(
                told.starts_with("The parameter '") && told.contains("Name' is invalid: "),
                "{told}"
            );
        }
    }
}

#[tokio::test]
async fn the_group_of_all_clients_cannot_be_edited() {
    let bench = bench(json!({})).await;
    let told = refused(&bench, "/clientGroups/$all", &json!({"query": "x"})).await;
    assert!(
        told.contains("$all is built in and cannot be edited"),
        "{told}"
    );
    bench
        .json(400, Ask::new("DELETE", &at("/clientGroups/$All")))
        .await;
}

#[tokio::test]
async fn sessions_of_a_namespace_are_bounded() {
    let bench = bench(json!({})).await;
    for (name, least, most) in [
        ("maximumClientSessionsPerAuthenticationName", 1, 100),
        ("maximumSessionExpiryInHours", 1, 8),
    ] {
        for (value, status) in [
            (least, 200),
            (most, 200),
            (0, 400),
            (most + 1, 400),
            (100_000, 400),
            (-1, 400),
        ] {
            let properties = json!({"topicSpacesConfiguration": {name: value}});
            bench.json(status, put("", &properties)).await;
        }
    }
}

#[tokio::test]
async fn values_of_another_type_are_refused_in_the_words_of_json() {
    let bench = bench(json!({"namespaces": [{"topics": [{"name": "events"}]}]})).await;
    let subscription = "/topics/events/eventSubscriptions/s1";
    for (path, properties, why) in [
        (
            "/clients/c",
            json!(5),
            "its properties: expected an object, got 5",
        ),
        (
            "/clients/c",
            json!([]),
            "its properties: expected an object, got a list",
        ),
        (
            "/clients/c",
            Value::Null,
            "its properties: expected an object, got null",
        ),
        (
            "/clients/c",
            json!({"clientCertificateAuthentication": []}),
            "its properties: clientCertificateAuthentication: expected an object, got a list",
        ),
        (
            "/clients/c",
            json!({"clientCertificateAuthentication": "x"}),
            "its properties: clientCertificateAuthentication: expected an object, got \"x\"",
        ),
        (
            "/clients/c",
            with("authenticationName", json!(5)),
            "its properties: authenticationName: expected a text, got 5",
        ),
        (
            "/clients/c",
            with("attributes", json!([])),
            "its properties: attributes: expected an object, got a list",
        ),
        (
            "/clientGroups/abc",
            json!({"query": ["x"]}),
            "its properties: query: expected a text, got a list",
        ),
        (
            "/topicSpaces/abc",
            json!({"topicTemplates": "a"}),
            "its properties: topicTemplates: expected a list, got \"a\"",
        ),
        (
            "/topicSpaces/abc",
            json!({"topicTemplates": [1]}),
            "its properties: topicTemplates[0]: expected a text, got 1",
        ),
        (
            "/topics/t2",
            json!([]),
            "its properties: expected an object, got a list",
        ),
        (
            subscription,
            json!({"filtersConfiguration": []}),
            "its properties: filtersConfiguration: expected an object, got a list",
        ),
        (
            subscription,
            json!({"filtersConfiguration": {"filters": [{"operatorType": "Like", "key": "a"}]}}),
            "got \"Like\"",
        ),
        (
            subscription,
            json!({"filtersConfiguration": {"filters": vec![json!({"operatorType": "IsNotNull", "key": "a"}); 26]}}),
            "26 advanced filters, the limit is 25",
        ),
        (
            subscription,
            json!({"filtersConfiguration": {"filters": [{"operatorType": "StringIn", "key": "a", "values": vec!["x"; 26]}]}}),
            "26 values of a filter",
        ),
        (
            subscription,
            json!({"filtersConfiguration": {"subjectBeginsWith": "x".repeat(513)}}),
            "has 513 characters, the limit is 512",
        ),
        (
            "",
            json!({"topicSpacesConfiguration": []}),
            "topicSpacesConfiguration: expected an object, got a list",
        ),
        (
            "",
            json!({"topicSpacesConfiguration": {"state": "On"}}),
            "neither Enabled nor Disabled",
        ),
        (
            "",
            json!([]),
            "its properties: expected an object, got a list",
        ),
    ] {
        let told = refused(&bench, path, &properties).await;
        assert!(told.contains(why), "{path}: {told}");
        assert!(!told.contains("struct"), "{told}");
    }
}

#[tokio::test]
async fn bodies_that_are_deep_or_large_are_refused() {
    let bench = bench(json!({})).await;
    let deep = |open: &str, close: &str| {
        format!(
            "{{\"properties\":{}1{}}}",
            open.repeat(100_000),
            close.repeat(100_000)
        )
    };
    for body in [deep("[", "]"), deep("{\"a\":", "}"), "[".repeat(100_000)] {
        let told = bench
            .json(400, Ask::new("PUT", &at("/clients/c")).body(body))
            .await;
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains("recursion limit"), "{message}");
    }
    let query = format!("attributes.a = '{}'", "x".repeat(9_000));
    let told = refused(&bench, "/clientGroups/abc", &json!({"query": query})).await;
    assert!(told.contains("the limit is 8192"), "{told}");
    let nested = format!("{}attributes.a = 1{}", "(".repeat(1_000), ")".repeat(1_000));
    let told = refused(&bench, "/clientGroups/abc", &json!({"query": nested})).await;
    assert!(told.contains("its parentheses nest too deep"), "{told}");
    let long = json!({"topicTemplates": ["x".repeat(1_025)]});
    let told = refused(&bench, "/topicSpaces/abc", &long).await;
    assert!(told.contains("the limit is 1024"), "{told}");
}

#[tokio::test]
async fn members_that_no_template_has_are_refused() {
    let bench = bench(json!({})).await;
    let told = refused(&bench, "/clients/c", &with("authenticationNam", json!("x"))).await;
    assert!(
        told.contains("did you mean \"authenticationName\"?"),
        "{told}"
    );
    for (method, path, body) in [
        (
            "PUT",
            "/clients/c",
            json!({"properties": by_subject(), "more": 1}),
        ),
        ("PUT", "", json!({"properties": {"topicSpaces": {}}})),
        ("PUT", "", json!({"propertys": {}})),
        ("PATCH", "", json!({"tag": {}})),
    ] {
        let ask = Ask::new(method, &at(path)).body(body.to_string());
        let told = bench.json(400, ask).await;
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains("unknown member"), "{message}");
    }
}
