//! A namespace's resources put into a running emulator, and the description of everything.

use serde_json::{Value, json};

use crate::bench::{Ask, Bench, bench};

const NAMESPACE: &str =
    "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces/nsname";
const DEPLOYMENT: &str =
    "/subscriptions/0/resourcegroups/g/providers/Microsoft.Resources/deployments/d1";

fn put(path: &str, body: &Value) -> Ask {
    Ask::new("PUT", &format!("{NAMESPACE}{path}?api-version=2025-02-15")).body(body.to_string())
}

fn get(path: &str) -> Ask {
    Ask::get(&format!("{NAMESPACE}{path}"))
}

fn delete(path: &str) -> Ask {
    Ask::new("DELETE", &format!("{NAMESPACE}{path}"))
}

fn publish(topic: &str) -> Ask {
    Ask::post(&format!("/mqtt/messages?topic={topic}&api-version=x"))
}

/// The events that a subscription has now.
async fn events(bench: &Bench, topic: &str, subscription: &str) -> Vec<Value> {
    let target = format!(
        "/topics/{topic}/eventsubscriptions/{subscription}:receive?api-version=x&maxEvents=100&maxWaitTime=10"
    );
    let answer = bench.json(200, Ask::post(&target)).await;
    let rows = answer["value"].as_array().unwrap();
    rows.iter().map(|row| row["event"].clone()).collect()
}

#[tokio::test]
async fn a_pasted_topic_space_takes_effect_until_the_reset() {
    let bench = bench(json!({"auth": "off"})).await;
    assert_eq!(bench.ask(publish("elsewhere")).await.status, 204);
    let body = json!({
        "type": "Microsoft.EventGrid/namespaces/topicSpaces",
        "apiVersion": "2025-02-15",
        "properties": {"description": "pasted", "topicTemplates": ["dev/#"]},
    });
    let path = "/topicSpaces/own";
    let created = bench.json(201, put(path, &body)).await;
    assert_eq!(created["properties"]["topicTemplates"], json!(["dev/#"]));
    assert_eq!(created["properties"]["provisioningState"], "Succeeded");
    bench.json(200, put(path, &body)).await;
    assert_eq!(bench.json(200, get(path)).await["name"], "own");
    let all = bench.json(200, get("/topicSpaces")).await;
    assert_eq!(all["value"][0]["name"], "own");
    assert_eq!(bench.ask(publish("elsewhere")).await.status, 403);
    bench.azure.reset();
    assert_eq!(bench.ask(publish("elsewhere")).await.status, 204);
    bench.json(404, get(path)).await;
    bench.json(201, put(path, &body)).await;
    for _ in 0..2 {
        assert_eq!(bench.ask(delete(path)).await.status, 204);
    }
    assert_eq!(bench.ask(publish("elsewhere")).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_that_are_put_at_once_are_all_there() {
    let bench = std::sync::Arc::new(bench(json!({"auth": "off"})).await);
    let puts: Vec<_> = (0..100)
        .map(|n| {
            let bench = bench.clone();
            let body = json!({"properties": {"clientCertificateAuthentication": {}}});
            tokio::spawn(async move {
                bench
                    .ask(put(&format!("/clients/c{n}"), &body))
                    .await
                    .status
            })
        })
        .collect();
    for one in puts {
        assert_eq!(one.await.unwrap(), 201);
    }
    let all = bench.json(200, get("/clients")).await;
    assert_eq!(all["value"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn resources_that_mean_nothing_are_refused_and_change_nothing() {
    let bench = bench(json!({"auth": "off", "namespaces": [{"topics": [{"name": "t"}]}]})).await;
    let queue = |queue: Value| json!({"properties": {"deliveryConfiguration": {"deliveryMode": "Queue", "queue": queue}}});
    for (path, body, status) in [
        (
            "/topicSpaces/bad",
            json!({"properties": {"topicTemplates": ["a/#/b"]}}),
            400,
        ),
        (
            "/clientGroups/bad",
            json!({"properties": {"query": "x"}}),
            400,
        ),
        (
            "/permissionBindings/a",
            json!({"properties": {"clientGroupName": "$all", "topicSpaceName": "none", "permission": "Publisher"}}),
            400,
        ),
        (
            "/permissionBindings/a",
            json!({"properties": {"permission": "Other"}}),
            400,
        ),
        ("/clients/a", json!({}), 400),
        (
            "/topics/a",
            json!({"properties": {"inputSchema": "EventGridSchema"}}),
            400,
        ),
        (
            "/topics/t/eventSubscriptions/a",
            queue(json!({"receiveLockDurationInSeconds": 59})),
            400,
        ),
        (
            "/topics/t/eventSubscriptions/a",
            queue(json!({"maxDeliveryCount": 11})),
            400,
        ),
        (
            "/topics/t/eventSubscriptions/a",
            queue(json!({"eventTimeToLive": "soon"})),
            400,
        ),
        (
            "/topics/t/eventSubscriptions/a",
            json!({"properties": {"deliveryConfiguration": {"deliveryMode": "Push"}}}),
            400,
        ),
        ("/topics/none/eventSubscriptions/a", queue(json!({})), 404),
        ("/others/a", json!({"properties": {}}), 404),
    ] {
        let answer = bench.json(status, put(path, &body)).await;
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
        assert!(!bench.reasons().is_empty());
        bench.json(404, get(path)).await;
    }
    let broken = Ask::new("PUT", &format!("{NAMESPACE}/clients/a")).body("{");
    bench.json(400, broken).await;
    let other = NAMESPACE.replace("nsname", "other");
    bench
        .json(404, Ask::get(&format!("{other}/clients/a")))
        .await;
    for (method, path, allowed) in [
        ("POST", String::new(), "GET, PUT, PATCH, DELETE"),
        ("GET", "/listKeys".to_owned(), "POST"),
        ("PUT", "/clients".to_owned(), "GET"),
        ("POST", "/clients/a".to_owned(), "GET, PUT, DELETE"),
    ] {
        let answer = bench
            .ask(Ask::new(method, &format!("{NAMESPACE}{path}")))
            .await;
        assert_eq!(
            (answer.status, answer.header_value("Allow")),
            (405, Some(allowed))
        );
    }
}

#[tokio::test]
async fn a_topic_and_its_subscription_come_and_go_and_keep_their_events_meanwhile() {
    let bench = bench(json!({"auth": "off", "auto_create": false})).await;
    let sent = || {
        Ask::post("/topics/t1:publish?api-version=x")
            .header("content-type", "application/cloudevents+json")
            .body(json!({"id": "1", "source": "/s", "type": "t", "specversion": "1.0"}).to_string())
    };
    bench.json(410, sent()).await;
    let topic = bench
        .json(201, put("/topics/t1", &json!({"properties": {}})))
        .await;
    assert_eq!(topic["properties"]["inputSchema"], "CloudEventSchemaV1_0");
    assert_eq!(topic["type"], "Microsoft.EventGrid/namespaces/topics");
    let path = "/topics/t1/eventSubscriptions/s1";
    let body = |count: u32| {
        json!({"properties": {
            "deliveryConfiguration": {"deliveryMode": "Queue", "queue": {
                "maxDeliveryCount": count,
                "receiveLockDurationInSeconds": 60,
                "deadLetterDestinationWithResourceIdentity": {"deadLetterDestination": {
                    "endpointType": "StorageBlob",
                    "properties": {"blobContainerName": "dead"},
                }},
            }},
            "eventDeliverySchema": "CloudEventSchemaV1_0",
            "filtersConfiguration": {"includedEventTypes": ["t"]},
        }})
    };
    bench.json(201, put(path, &body(10))).await;
    bench.json(200, sent()).await;
    let changed = bench.json(200, put(path, &body(1))).await;
    let queue = &changed["properties"]["deliveryConfiguration"]["queue"];
    assert_eq!(queue["maxDeliveryCount"], 1);
    assert_eq!(
        bench.json(200, get(path)).await["properties"],
        changed["properties"]
    );
    let all = bench.json(200, get("/topics/t1/eventSubscriptions")).await;
    assert_eq!(
        all["value"][0]["id"],
        format!("{NAMESPACE}/topics/t1/eventSubscriptions/s1")
    );
    // What was published before the change is there after it, and the new count holds.
    assert_eq!(events(&bench, "t1", "s1").await.len(), 1);
    bench
        .app
        .clock
        .advance(jiff::SignedDuration::from_secs(60))
        .unwrap();
    bench
        .json(201, put("/topics/dead", &json!({"properties": {}})))
        .await;
    bench
        .json(
            201,
            put(
                "/topics/dead/eventSubscriptions/d",
                &json!({"properties": {}}),
            ),
        )
        .await;
    bench.json(200, sent()).await;
    assert_eq!(events(&bench, "t1", "s1").await.len(), 1);
    let dead = events(&bench, "dead", "d").await;
    assert_eq!(
        dead[0]["deadletterreason"],
        "Maximum delivery attempts was exceeded."
    );
    assert_eq!(bench.ask(delete(path)).await.status, 204);
    let gone = "/topics/t1/eventsubscriptions/s1:receive?api-version=x&maxWaitTime=10";
    bench.json(404, Ask::post(gone)).await;
    assert_eq!(bench.ask(delete("/topics/t1")).await.status, 204);
    bench.json(410, sent()).await;
}

/// As `az group export` and `bicep build` write it.
fn template() -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "namespaces_nsname_name": {"defaultValue": "nsname", "type": "String"},
            "space": {"type": "string"},
        },
        "variables": {},
        "resources": [
            {
                "type": "Microsoft.EventGrid/namespaces/topics/eventSubscriptions",
                "name": "[concat(parameters('namespaces_nsname_name'), '/events/s1')]",
                "dependsOn": ["[resourceId('Microsoft.EventGrid/namespaces/topics', parameters('namespaces_nsname_name'), 'events')]"],
                "properties": {"deliveryConfiguration": {"deliveryMode": "Queue"}},
            },
            {
                "type": "Microsoft.EventGrid/namespaces",
                "apiVersion": "2025-02-15",
                "name": "[parameters('namespaces_nsname_name')]",
                "location": "westus3",
                "sku": {"name": "Standard", "capacity": 1},
                "properties": {"topicSpacesConfiguration": {
                    "state": "Enabled",
                    "routeTopicResourceId": "[resourceId('Microsoft.EventGrid/namespaces/topics', parameters('namespaces_nsname_name'), 'events')]",
                }},
            },
            {
                "type": "Microsoft.EventGrid/namespaces/topics",
                "name": "[concat(parameters('namespaces_nsname_name'), '/events')]",
                "properties": {"publisherType": "Custom", "inputSchema": "CloudEventSchemaV1_0"},
            },
            {
                "type": "Microsoft.EventGrid/namespaces/topicSpaces",
                "name": "[format('{0}/{1}', parameters('namespaces_nsname_name'), parameters('space'))]",
                "properties": {"topicTemplates": ["dev/#"]},
            },
            {"type": "Microsoft.Storage/storageAccounts", "name": "other", "properties": {}},
        ],
    })
}

#[tokio::test]
async fn a_whole_template_is_deployed_and_a_broken_one_changes_nothing() {
    let bench = bench(json!({"auth": "off", "auto_create": false})).await;
    bench.azure.started(&bench.app);
    let deploy = |template: &Value| {
        let body = json!({"properties": {
            "mode": "Incremental",
            "template": template,
            "parameters": {"space": {"value": "own"}},
        }});
        Ask::new("PUT", DEPLOYMENT).body(body.to_string())
    };
    let mut broken = template();
    broken["resources"][3]["properties"]["topicTemplates"] = json!(["a/#/b"]);
    bench.json(400, deploy(&broken)).await;
    bench.json(404, get("/topics/events")).await;
    let answer = bench.json(200, deploy(&template())).await;
    assert_eq!(answer["properties"]["provisioningState"], "Succeeded");
    let created = answer["properties"]["outputResources"].as_array().unwrap();
    assert_eq!(created.len(), 4);
    assert!(
        bench
            .reasons()
            .contains("Microsoft.Storage/storageAccounts")
    );
    let namespace = bench.json(200, get("")).await;
    let configuration = &namespace["properties"]["topicSpacesConfiguration"];
    assert!(
        configuration["routeTopicResourceId"]
            .as_str()
            .unwrap()
            .ends_with("/nsname/events")
    );
    assert_eq!(bench.ask(publish("elsewhere")).await.status, 403);
    assert_eq!(bench.ask(publish("dev/1")).await.status, 202);
    assert_eq!(events(&bench, "events", "s1").await[0]["subject"], "dev/1");
}

#[tokio::test]
async fn an_array_of_resources_is_put_at_the_namespace() {
    let bench = bench(json!({"auth": "off"})).await;
    let array = json!([
        {"type": "Microsoft.EventGrid/namespaces/topicSpaces", "name": "nsname/own", "properties": {"topicTemplates": ["dev/#"]}},
        {"type": "Microsoft.EventGrid/namespaces/permissionBindings", "name": "own", "properties":
            {"clientGroupName": "$all", "topicSpaceName": "own", "permission": "Publisher"}},
    ]);
    bench.json(200, put("", &array)).await;
    assert_eq!(
        bench.json(200, get("/permissionBindings")).await["value"][0]["name"],
        "own"
    );
    let own =
        json!({"properties": {"topicSpacesConfiguration": {"maximumSessionExpiryInHours": 4}}});
    bench.json(200, put("", &own)).await;
    let namespace = bench.json(200, get("")).await;
    let configuration = &namespace["properties"]["topicSpacesConfiguration"];
    assert_eq!(configuration["maximumSessionExpiryInHours"], 4);
    bench.json(200, get("/topicSpaces/own")).await;
    bench.json(400, put("", &json!("text"))).await;
}

#[tokio::test]
async fn clients_that_are_put_and_removed_are_told_as_life_cycle_events() {
    let settings = json!({"auth": "off", "namespaces": [{"life_cycle_topic": "life"}]});
    let bench = bench(settings).await;
    let body = json!({"properties": {
        "authenticationName": "Device-1",
        "attributes": {"floor": 7},
        "clientCertificateAuthentication": {"validationScheme": "SubjectMatchesAuthenticationName"},
    }});
    bench.json(201, put("/clients/c1", &body)).await;
    bench
        .app
        .clock
        .advance(jiff::SignedDuration::from_secs(5))
        .unwrap();
    bench.json(200, put("/clients/c1", &body)).await;
    assert_eq!(bench.ask(delete("/clients/c1")).await.status, 204);
    assert_eq!(bench.ask(delete("/clients/c1")).await.status, 204);
    let told = events(&bench, "life", "s").await;
    let kinds: Vec<_> = told
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "Microsoft.EventGrid.MQTTClientCreatedOrUpdated",
            "Microsoft.EventGrid.MQTTClientCreatedOrUpdated",
            "Microsoft.EventGrid.MQTTClientDeleted",
        ]
    );
    assert_eq!(told[0]["subject"], "clients/c1");
    assert_eq!(
        told[1]["data"],
        json!({
            "namespaceName": "nsname",
            "clientName": "c1",
            "clientAuthenticationName": "Device-1",
            "state": "Enabled",
            "attributes": {"floor": 7},
            "createdOn": "2026-11-21T22:51:00Z",
            "updatedOn": "2026-11-21T22:51:05Z",
        })
    );
    assert_eq!(
        told[2]["data"],
        json!({"namespaceName": "nsname", "clientName": "c1", "clientAuthenticationName": "Device-1"})
    );
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

#[tokio::test]
async fn a_misspelt_property_is_refused_with_the_nearest() {
    let bench = bench(json!({"auth": "off"})).await;
    for (path, body, words) in [
        (
            "/topicSpaces/own",
            json!({"properties": {"topicTemplate": ["a"]}}),
            "topicTemplates",
        ),
        (
            "/topicSpaces/own",
            json!({"propertis": {}, "properties": {}}),
            "properties",
        ),
        (
            "/clients/client",
            json!({"properties": {"authenticatonName": "c"}}),
            "authenticationName",
        ),
        (
            "/clients/client",
            json!({"properties": {"clientCertificateAuthentication": {"validationSchema": "x"}}}),
            "validationScheme",
        ),
        (
            "/clientGroups/group",
            json!({"properties": {"qery": "x"}}),
            "query",
        ),
        (
            "/topics/topic",
            json!({"properties": {"inputScheme": "x"}}),
            "inputSchema",
        ),
        (
            "",
            json!({"properties": {"topicSpaceConfiguration": {}}}),
            "topicSpacesConfiguration",
        ),
        (
            "",
            json!({"properties": {"topicSpacesConfiguration": {"routingEnrichment": {}}}}),
            "routingEnrichments",
        ),
    ] {
        let refused = bench.json(400, put(path, &body)).await;
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("did you mean \"{words}\"")),
            "{message}"
        );
        for rust in ["struct", "field", "expected one of"] {
            assert!(!message.contains(rust), "{message}");
        }
    }
    assert_eq!(bench.json(200, get("/clients")).await["value"], json!([]));
}

#[tokio::test]
async fn a_template_that_would_grow_without_bound_is_not_evaluated() {
    let bench = bench(json!({"auth": "off"})).await;
    let deep = |levels: usize, leaf: Value| (0..levels).fold(leaf, |inner, _| json!([inner]));
    let variables = json!({
        "large": "x".repeat(100_000),
        "many": (0..2_000).map(|_| "[variables('large')]").collect::<Vec<_>>(),
        "a": deep(100, json!("[variables('b')]")),
        "b": deep(100, json!("[variables('a')]")),
    });
    for value in ["[variables('many')]", "[variables('a')]"] {
        let body = json!({"properties": {"template": {
            "variables": variables,
            "resources": [{
                "type": "Microsoft.EventGrid/namespaces/topicSpaces",
                "name": "nsname/ts",
                "properties": {"topicTemplates": [value]},
            }],
        }}});
        let target = format!("{DEPLOYMENT}?api-version=2021-04-01");
        let answer = bench
            .ask(Ask::new("PUT", &target).body(body.to_string()))
            .await;
        assert_eq!(answer.status, 400);
    }
}
