//! Bodies cut short, with a byte changed, with a value exchanged: each gets an answer of the
//! vendor's, and none of them an internal error. Nothing is signed, so that parsing is reached.

use std::collections::BTreeSet;

use libtest_mimic::Failed;
use mqttstack::Emulator;
use mqttstack_pipeline as pipeline;
use mqttstack_tencent_iot_hub::TencentIot;
use serde_json::{Value, json};

use super::CLOCK;
use crate::exchange::Sent;
use crate::{handed, runtime};

/// Walks the mutilations of every different body.
pub(super) fn walk(requests: &[Sent]) -> Result<(), Failed> {
    runtime()?.block_on(async {
        let off = json!({"auth": "off"});
        let vendor = TencentIot::new(
            serde_json::from_value(off.clone())?,
            serde_json::from_value(off)?,
        )?;
        let emulator = Emulator::builder().clock(CLOCK.parse()?).start().await?;
        let mut seen = BTreeSet::new();
        for sent in requests {
            if sent.body.len() > 2_000 || !seen.insert((&sent.target, &sent.body)) {
                continue;
            }
            for body in mutilations(&sent.body) {
                let sent = Sent {
                    body,
                    ..sent.clone()
                };
                let request = handed::request(sent, None);
                let answer = pipeline::run(emulator.app(), &vendor, &request).await;
                let text = String::from_utf8(answer.body.bytes().to_vec())?;
                let told: Value = serde_json::from_str(&text)?;
                let code = &told["Response"]["Error"]["Code"];
                if answer.status != 200 || code == "InternalError" || told["code"] == 1000 {
                    return Err(format!("{:?} got {text}", request.body).into());
                }
            }
        }
        emulator.stop().await;
        Ok(())
    })
}

fn mutilations(body: &[u8]) -> Vec<Vec<u8>> {
    let mut found = vec![b"null".to_vec(), vec![b'['; 100_000], b"\xff\xfe".to_vec()];
    for at in (0..body.len().min(200)).step_by(7) {
        found.push(body[..at].to_vec());
        for byte in [b'"', 0, 0xFF, b'{'] {
            let mut changed = body.to_vec();
            changed[at] = byte;
            found.push(changed);
        }
    }
    let values = [
        "null",
        "-1",
        "1e400",
        "[]",
        "{}",
        "true",
        "\"\"",
        "\"\\u0000\"",
    ];
    if let Ok(Value::Object(fields)) = serde_json::from_slice(body) {
        for name in fields.keys() {
            for value in values {
                let members: Vec<String> = fields
                    .iter()
                    .map(|(key, old)| {
                        let new = if key == name {
                            value.to_owned()
                        } else {
                            old.to_string()
                        };
                        format!("{key:?}:{new}")
                    })
                    .collect();
                found.push(format!("{{{}}}", members.join(",")).into());
            }
        }
    }
    found
}
