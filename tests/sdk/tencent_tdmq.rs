//! Tencent's unmodified Node SDK and MQTT.js against TDMQ, on the real clock: a user's life over
//! the cloud API, HTTP and MQTT. What is expected stands in the script, which ends with `ok`. The
//! Python SDK is in `tests/tencent_tdmq/`.

use crate::install::Runtime;
use crate::tencent_iot::plays;

#[tokio::test(flavor = "multi_thread")]
async fn tencents_node_sdk_manages_users_policies_tokens_clients_and_messages() {
    plays(Runtime::Node, "tencent_tdmq.js").await;
}
