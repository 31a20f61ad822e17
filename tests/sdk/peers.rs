//! MQTT clients of a real library, any number by name in one script.

use std::collections::{HashMap, VecDeque};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::install::Runtime;
use crate::script::Script;

/// A library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// `paho-mqtt`.
    Paho,
    /// `mqtt` of npm.
    MqttJs,
}

/// What a client received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u64,
    pub retain: bool,
    pub user_properties: Value,
}

/// The clients of one script.
pub struct Peers {
    script: Script,
    messages: HashMap<String, VecDeque<Message>>,
    ended: HashMap<String, usize>,
}

impl Peers {
    pub async fn start(library: Library) -> Self {
        let script = match library {
            Library::Paho => Script::start(Runtime::Python, "paho_clients.py").await,
            Library::MqttJs => Script::start(Runtime::Node, "mqtt_clients.js").await,
        };
        Self {
            script,
            messages: HashMap::new(),
            ended: HashMap::new(),
        }
    }

    /// Has a client do something and returns what came of it.
    pub async fn act(&mut self, client: &str, action: &str, mut options: Value) -> Value {
        options["client"] = client.into();
        options["do"] = action.into();
        self.script.tell(&options).await;
        loop {
            if let Some(answer) = self.hear().await {
                return answer;
            }
        }
    }

    /// Connects, which must succeed; whether the session was there.
    pub async fn connect(&mut self, client: &str, options: Value) -> bool {
        let answer = self.act(client, "connect", options).await;
        assert_eq!(answer["code"], 0, "{client}: {answer}");
        answer["session_present"].as_bool().unwrap()
    }

    /// Subscribes, which must be granted as asked.
    pub async fn subscribe(&mut self, client: &str, filter: &str, qos: u8) {
        let options = json!({"filter": filter, "qos": qos});
        let granted = self.act(client, "subscribe", options).await;
        assert_eq!(granted, json!([qos]), "{client} {filter}");
    }

    /// Publishes and waits for the acknowledgement, if there is one.
    pub async fn publish(&mut self, client: &str, topic: &str, payload: &[u8], flags: (u8, bool)) {
        let options = json!({
            "topic": topic,
            "payload": BASE64_STANDARD.encode(payload),
            "qos": flags.0,
            "retain": flags.1,
        });
        let code = self.act(client, "publish", options).await;
        assert_eq!(code, 0, "{client} {topic}");
    }

    /// The next message of a client.
    pub async fn message(&mut self, client: &str) -> Message {
        loop {
            let waiting = self.messages.get_mut(client);
            if let Some(message) = waiting.and_then(VecDeque::pop_front) {
                return message;
            }
            let unasked = self.hear().await;
            assert_eq!(unasked, None);
        }
    }

    /// How many messages of a client have come and were not asked for.
    pub fn waiting(&self, client: &str) -> usize {
        self.messages.get(client).map_or(0, VecDeque::len)
    }

    /// Waits until a client's connection has ended once more.
    pub async fn ended(&mut self, client: &str) {
        loop {
            if let Some(ends) = self.ended.get_mut(client).filter(|ends| **ends > 0) {
                *ends -= 1;
                return;
            }
            let unasked = self.hear().await;
            assert_eq!(unasked, None);
        }
    }

    /// Takes one line: an answer is returned, an event is kept.
    async fn hear(&mut self) -> Option<Value> {
        let mut line = self.script.hear().await;
        let client = |event: &Value| event["client"].as_str().unwrap().to_owned();
        if let Some(event) = line.get_mut("message") {
            let message = Message {
                topic: event["topic"].as_str().unwrap().to_owned(),
                payload: BASE64_STANDARD
                    .decode(event["payload"].as_str().unwrap())
                    .unwrap(),
                qos: event["qos"].as_u64().unwrap(),
                retain: event["retain"].as_bool().unwrap(),
                user_properties: event["user_properties"].take(),
            };
            let name = client(event);
            self.messages.entry(name).or_default().push_back(message);
            None
        } else if let Some(event) = line.get("ended") {
            *self.ended.entry(client(event)).or_default() += 1;
            None
        } else {
            let result = line.get_mut("result").map(Value::take);
            Some(result.unwrap_or_else(|| panic!("{line}")))
        }
    }
}
