//! A namespace's resources put into a running emulator, and the description of everything.

use serde_json::{Value, json};

use crate::bench::{Ask, bench};

const NAMESPACE: &str =
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces/nsname";

#[tokio::test]
async fn a_pasted_topic_space_takes_effect_until_the_reset() {
    let bench = bench(json!({"auth": "off"})).await;
    let publish = || Ask::post("/mqtt/messages?topic=elsewhere&api-version=x");
    assert_eq!(bench.ask(publish()).await.status, 204);
    let target = format!("{NAMESPACE}/topicSpaces/own");
    let body = json!({
        "type": "Microsoft.EventGrid/namespaces/topicSpaces",
        "apiVersion": "2025-02-15",
        "properties": {"description": "pasted", "topicTemplates": ["dev/#"]},
    });
    let put = || Ask::new("PUT", &target).body(body.to_string());
    let created = bench.json(201, put()).await;
    assert_eq!(created["properties"]["topicTemplates"], json!(["dev/#"]));
    bench.json(200, put()).await;
    assert_eq!(bench.json(200, Ask::get(&target)).await["name"], "own");
    assert_eq!(bench.ask(publish()).await.status, 403);
    bench.azure.reset();
    assert_eq!(bench.ask(publish()).await.status, 204);
    bench.json(404, Ask::get(&target)).await;
    bench.json(201, put()).await;
    assert_eq!(bench.ask(Ask::new("DELETE", &target)).await.status, 204);
    assert_eq!(bench.ask(publish()).await.status, 204);
}

#[tokio::test]
async fn resources_that_mean_nothing_are_refused_and_change_nothing() {
    let bench = bench(json!({"auth": "off"})).await;
    for (path, body, status) in [
        ("topicSpaces/a", json!({"properties": {"topicTemplates": ["a/#/b"]}}).to_string(), 400),
        ("clientGroups/a", json!({"properties": {"query": "x"}}).to_string(), 400),
        ("permissionBindings/a", json!({"properties": {"clientGroupName": "$all", "topicSpaceName": "none", "permission": "Publisher"}}).to_string(), 400),
        ("permissionBindings/a", json!({"properties": {"permission": "Other"}}).to_string(), 400),
        ("clients/a", json!({}).to_string(), 400),
        ("clients/a", "{".to_owned(), 400),
        ("others/a", json!({"properties": {}}).to_string(), 404),
    ] {
        let target = format!("{NAMESPACE}/{path}");
        bench.json(status, Ask::new("PUT", &target).body(body)).await;
        bench.json(404, Ask::get(&target)).await;
    }
    let other = NAMESPACE.replace("nsname", "other");
    bench
        .json(404, Ask::get(&format!("{other}/clients/a")))
        .await;
}

#[test]
fn the_description_names_every_error_code() {
    let description = include_str!("../../openapi/azure-event-grid.yaml");
    let parsed: Value = serde_saphyr::from_str(description).unwrap();
    assert_eq!(parsed["openapi"], "3.1.0");
    let table: Value =
        serde_json::from_str(include_str!("../../fixtures/azure/errors.json")).unwrap();
    for row in table.as_array().unwrap() {
        let code = row["code"].as_str().unwrap();
        assert!(description.contains(code), "{code}");
    }
}
