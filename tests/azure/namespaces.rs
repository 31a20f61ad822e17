//! Whole namespaces and their access keys over the resource manager, as azure-mgmt-eventgrid 10.4
//! calls it.

use serde_json::{Value, json};

use crate::bench::{Ask, Bench, bench};
use crate::mqtt::listening;
use crate::wire::{Connect, Wire};

const ALL: &str = "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces";

fn at(path: &str) -> String {
    format!("{ALL}{path}?api-version=2025-02-15")
}

fn with(method: &str, path: &str, body: &Value) -> Ask {
    Ask::new(method, &at(path)).body(body.to_string())
}

fn publish(topic: &str, key: &str) -> Ask {
    Ask::post(&format!("/topics/{topic}:publish?api-version=2024-06-01"))
        .header("content-type", "application/cloudevents+json")
        .header("aeg-sas-key", key)
        .body(json!({"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}).to_string())
}

fn new_one() -> Value {
    json!({
        "location": "West US 3",
        "tags": {"a": "b"},
        "sku": {"name": "Standard", "capacity": 1},
        "properties": {"topicSpacesConfiguration": {"state": "Enabled", "maximumSessionExpiryInHours": 2}},
    })
}

async fn names(bench: &Bench, path: &str) -> Vec<String> {
    let listed = bench.json(200, Ask::get(path)).await;
    let rows = listed["value"].as_array().unwrap().iter();
    rows.map(|row| row["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_namespace_is_put_read_listed_and_deleted() {
    let bench = bench(json!({"auth": "off"})).await;
    let created = bench.json(201, with("PUT", "/ns2", &new_one())).await;
    assert_eq!(created["id"], format!("{ALL}/ns2"));
    assert_eq!(created["type"], "Microsoft.EventGrid/namespaces");
    assert_eq!(created["location"], "westus3");
    assert_eq!(created["tags"], json!({"a": "b"}));
    let properties = &created["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded");
    let configuration = &properties["topicSpacesConfiguration"];
    assert_eq!(configuration["state"], "Enabled");
    assert_eq!(configuration["maximumSessionExpiryInHours"], 2);
    assert_eq!(
        configuration["hostname"],
        "ns2.westus3-1.ts.eventgrid.azure.net"
    );
    assert_eq!(bench.json(200, Ask::get(&at("/NS2"))).await, created);
    assert_eq!(
        bench.json(200, with("PUT", "/ns2", &new_one())).await,
        created
    );
    let everywhere = "/subscriptions/0/providers/Microsoft.EventGrid/namespaces?api-version=x";
    for path in [at("").as_str(), everywhere] {
        assert_eq!(names(&bench, path).await, ["nsname", "ns2"]);
    }
    // What is in one is not in the other.
    let space = json!({"properties": {"topicTemplates": ["dev/#"]}});
    bench
        .json(201, with("PUT", "/ns2/topicSpaces/own", &space))
        .await;
    bench
        .json(404, Ask::get(&at("/nsname/topicSpaces/own")))
        .await;
    let at_ns2 = Ask::post("/mqtt/messages?topic=x&api-version=x").without("host");
    let at_ns2 = at_ns2.header("Host", "ns2.westus3-1.ts.eventgrid.azure.net");
    assert_eq!(bench.ask(at_ns2.clone()).await.status, 403);
    for _ in 0..2 {
        assert_eq!(bench.ask(Ask::new("DELETE", &at("/ns2"))).await.status, 204);
    }
    bench.json(404, Ask::get(&at("/ns2"))).await;
    assert_eq!(names(&bench, everywhere).await, ["nsname"]);
    assert_eq!(
        bench.ask(at_ns2).await.status,
        204,
        "the first answers for it"
    );
}

#[tokio::test]
async fn a_reset_takes_namespaces_that_were_put_and_brings_deleted_ones() {
    let bench = bench(json!({"auth": "off"})).await;
    bench.json(201, with("PUT", "/ns2", &new_one())).await;
    assert_eq!(
        bench.ask(Ask::new("DELETE", &at("/nsname"))).await.status,
        204
    );
    assert_eq!(names(&bench, &at("")).await, ["ns2"]);
    bench.azure.reset();
    assert_eq!(names(&bench, &at("")).await, ["nsname"]);
    assert_eq!(bench.ask(publish("t", "")).await.status, 200);
}

#[tokio::test]
async fn without_any_namespace_everything_is_refused() {
    let (bench, address) = listening(json!({"auth": "off"})).await;
    assert_eq!(
        bench.ask(Ask::new("DELETE", &at("/nsname"))).await.status,
        204
    );
    for ask in [
        publish("t", ""),
        Ask::post("/mqtt/messages?topic=x&api-version=x"),
        Ask::get("/mqtt/retainedMessages?topicFilter=x&api-version=x"),
        Ask::post("/topics/t/eventsubscriptions/s:receive?api-version=x"),
    ] {
        let told = bench.json(404, ask).await;
        assert_eq!(told["error"]["message"], "There is no namespace.");
    }
    let mut connect = Connect::new(5, "a");
    connect.properties = [&[0x15, 0, 10][..], b"OAUTH2-JWT"].concat();
    assert_eq!(Wire::connect(address, &connect).await.1.code, 0x87);
    let mut open = Wire::open(address, 5, "open").await;
    open.publish("t", "x", 2, &[]).await;
}

#[tokio::test]
async fn clients_of_a_deleted_namespace_have_to_go() {
    let (bench, address) =
        listening(json!({"auth": "lenient", "namespaces": [{"clients": [{"name": "a"}]}]})).await;
    let mut connect = Connect::new(5, "a");
    connect.username = Some("a".to_owned());
    let (mut wire, connack) = Wire::connect(address, &connect).await;
    assert_eq!(connack.code, 0);
    assert_eq!(
        bench.ask(Ask::new("DELETE", &at("/nsname"))).await.status,
        204
    );
    assert_eq!(wire.disconnected().await, 0x87);
    assert_eq!(bench.reasons(), "the namespace \"nsname\" was deleted");
}

#[tokio::test]
async fn nobody_connects_to_a_broker_that_is_disabled() {
    let (bench, address) =
        listening(json!({"auth": "lenient", "namespaces": [{"clients": [{"name": "a"}]}]})).await;
    let off = json!({"properties": {"topicSpacesConfiguration": {"state": "Disabled"}}});
    bench.json(200, with("PATCH", "/nsname", &off)).await;
    let mut connect = Connect::new(4, "a");
    connect.username = Some("a".to_owned());
    assert_eq!(Wire::connect(address, &connect).await.1.code, 5);
}

#[tokio::test]
async fn a_patch_changes_what_it_names_alone() {
    let bench = bench(json!({})).await;
    let first = json!({"properties": {"topicSpacesConfiguration": {
        "maximumSessionExpiryInHours": 3,
        "clientAuthentication": {"alternativeAuthenticationNameSources": ["ClientCertificateDns"]},
    }}});
    bench.json(200, with("PUT", "/nsname", &first)).await;
    let patched = bench
        .json(200, with("PATCH", "/nsname", &json!({"tags": {"a": "b"}})))
        .await;
    assert_eq!(patched["tags"], json!({"a": "b"}));
    let more = json!({"properties": {"topicSpacesConfiguration": {"maximumClientSessionsPerAuthenticationName": 7}}});
    let patched = bench.json(200, with("PATCH", "/nsname", &more)).await;
    let configuration = &patched["properties"]["topicSpacesConfiguration"];
    assert_eq!(configuration["maximumSessionExpiryInHours"], 3);
    assert_eq!(
        configuration["maximumClientSessionsPerAuthenticationName"],
        7
    );
    let sources = &configuration["clientAuthentication"]["alternativeAuthenticationNameSources"];
    assert_eq!(*sources, json!(["ClientCertificateDns"]));
    assert_eq!(patched["tags"], json!({"a": "b"}));
    let back =
        json!({"properties": {"topicSpacesConfiguration": {"maximumSessionExpiryInHours": null}}});
    let patched = bench.json(200, with("PATCH", "/nsname", &back)).await;
    assert_eq!(
        patched["properties"]["topicSpacesConfiguration"]["maximumSessionExpiryInHours"],
        1
    );
}

#[tokio::test]
async fn an_event_subscription_is_patched_too() {
    let bench = bench(json!({"namespaces": [{"topics": [{"name": "t1"}]}]})).await;
    let path = "/nsname/topics/t1/eventSubscriptions/s1";
    let whole =
        json!({"properties": {"deliveryConfiguration": {"queue": {"maxDeliveryCount": 3}}}});
    bench.json(201, with("PUT", path, &whole)).await;
    let patch = json!({"filtersConfiguration": {"includedEventTypes": ["t"]}});
    let shown = bench.json(200, with("PATCH", path, &patch)).await;
    let properties = &shown["properties"];
    assert_eq!(
        properties["deliveryConfiguration"]["queue"]["maxDeliveryCount"],
        3
    );
    assert_eq!(
        properties["filtersConfiguration"]["includedEventTypes"],
        json!(["t"])
    );
    bench
        .json(
            200,
            with("PATCH", "/nsname/topics/t1", &json!({"properties": {}})),
        )
        .await;
    bench
        .json(404, with("PATCH", "/nsname/topics/none", &json!({})))
        .await;
    bench.json(404, with("PATCH", "/none", &json!({}))).await;
    assert_eq!(
        bench
            .ask(with("PATCH", "/nsname/clients/c", &json!({})))
            .await
            .status,
        405
    );
}

async fn keys(bench: &Bench, path: &str) -> (String, String) {
    let shown = bench.json(200, Ask::post(&at(path))).await;
    let text = |name: &str| shown[name].as_str().unwrap().to_owned();
    (text("key1"), text("key2"))
}

#[tokio::test]
async fn the_keys_of_a_namespace_are_listed_and_made_anew() {
    let bench = bench(json!({})).await;
    let (one, two) = keys(&bench, "/nsname/listKeys").await;
    assert_eq!((&*one, &*two), ("dGVzdGtleQ==", "dGVzdGtleTI="));
    for key in [&one, &two] {
        assert_eq!(bench.ask(publish("t", key)).await.status, 200);
    }
    let ask = with("POST", "/nsname/regenerateKey", &json!({"keyName": "key1"}));
    let made = bench.json(200, ask).await;
    assert_eq!(made["key2"], *two);
    assert_ne!(made["key1"], *one);
    assert_eq!(
        keys(&bench, "/nsname/listKeys").await.0,
        made["key1"].as_str().unwrap()
    );
    assert_eq!(bench.ask(publish("t", &one)).await.status, 401);
    assert_eq!(
        bench
            .ask(publish("t", made["key1"].as_str().unwrap()))
            .await
            .status,
        200
    );
    for body in [
        json!({}),
        json!({"keyName": "key3"}),
        json!({"keyName": 1}),
        json!([]),
    ] {
        let ask = with("POST", "/nsname/regenerateKey", &body);
        bench.json(400, ask).await;
    }
    bench.json(404, Ask::post(&at("/none/listKeys"))).await;
    bench.azure.reset();
    assert_eq!(bench.ask(publish("t", &one)).await.status, 200);
}

#[tokio::test]
async fn a_topic_has_keys_of_its_own() {
    let bench = bench(json!({"namespaces": [{"topics": [{"name": "t1"}, {"name": "t2"}]}]})).await;
    let (one, two) = keys(&bench, "/nsname/topics/t1/listKeys").await;
    assert_eq!(
        keys(&bench, "/nsname/topics/T1/listkeys").await,
        (one.clone(), two.clone())
    );
    assert_eq!(bench.ask(publish("t1", &one)).await.status, 200);
    assert_eq!(bench.ask(publish("t1", &two)).await.status, 200);
    assert_eq!(bench.ask(publish("t2", &one)).await.status, 401);
    let ask = with(
        "POST",
        "/nsname/topics/t1/regenerateKey",
        &json!({"keyName": "KEY2"}),
    );
    let made = bench.json(200, ask).await;
    assert_eq!(made["key1"], *one);
    assert_eq!(bench.ask(publish("t1", &two)).await.status, 401);
    bench
        .json(404, Ask::post(&at("/nsname/topics/none/listKeys")))
        .await;
}

#[tokio::test]
async fn a_namespace_that_makes_no_sense_is_not_made() {
    let bench = bench(json!({})).await;
    for (path, body, why) in [
        (
            "/ns",
            new_one(),
            "'namespaceName' is invalid: it has 2 characters",
        ),
        (
            "/a%20b",
            new_one(),
            "'namespaceName' is invalid: ' ' is in it",
        ),
        ("/ns2", json!({}), "the location"),
        ("/ns2", json!({"location": 5}), "the location"),
        ("/ns2", json!({"location": "a.b"}), "the location"),
        (
            "/ns2",
            json!({"location": "westus3", "tags": ["a"]}),
            "tags must be an object of strings",
        ),
        (
            "/ns2",
            json!({"location": "westus3", "tags": {"a": 1}}),
            "tags must be an object of strings",
        ),
        (
            "/ns2",
            json!({"location": "westus3", "tags": {"a": "x".repeat(257)}}),
            "is too long",
        ),
        (
            "/ns2",
            json!({"location": "westus3", "properties": []}),
            "its properties: expected an object, got a list",
        ),
        (
            "/ns2",
            json!({"location": "westus3", "properties": {"topicSpacesConfiguration": {"maximumSessionExpiryInHours": 9}}}),
            "must be 1 to 8",
        ),
    ] {
        let told = bench.json(400, with("PUT", path, &body)).await;
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
    }
    assert_eq!(names(&bench, &at("")).await, ["nsname"]);
    for n in 1..50 {
        bench
            .json(201, with("PUT", &format!("/more{n}"), &new_one()))
            .await;
    }
    bench.json(400, with("PUT", "/more50", &new_one())).await;
}

#[tokio::test]
async fn other_providers_and_paths_are_nothing_here() {
    let bench = bench(json!({})).await;
    for path in [
        "/subscriptions/0/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/nsname",
        "/subscriptions/0/providers/Microsoft.EventGrid/namespaces/nsname",
        "/subscriptions/0/providers/Microsoft.EventGrid/topics",
        "/subscriptions/0",
        "/subscriptions",
        &format!("{ALL}/nsname/topics/t/keys"),
        &format!("{ALL}/nsname/clients/c/more"),
    ] {
        bench.json(404, Ask::get(path)).await;
    }
}
