"""The whole loop with one identity: `DefaultAzureCredential` -> token -> HTTP publish -> an MQTT
subscriber (paho, OAUTH2-JWT) receives it with all its properties -> the routed CloudEvent is
received and acknowledged with `azure-eventgrid`. Run by tests/azure/sdk.rs:
`whole_loop.py folder ready.json`."""

import base64
import json
import os
import pathlib
import queue
import sys
import urllib.request
from urllib.parse import quote, urlsplit

FOLDER, READY = pathlib.Path(sys.argv[1]), json.loads(pathlib.Path(sys.argv[2]).read_text())
HTTP, HTTPS = READY["http"], READY["https"].replace("127.0.0.1", "localhost")
CA = str(FOLDER / "ca.pem")
pathlib.Path(CA).write_bytes(urllib.request.urlopen(f"{HTTP}/_mqttstack/ca.pem").read())
os.environ.update(REQUESTS_CA_BUNDLE=CA, AZURE_POD_IDENTITY_AUTHORITY_HOST=HTTP)

import paho.mqtt.client as mqtt  # noqa: E402
import requests  # noqa: E402
from azure.eventgrid import EventGridConsumerClient  # noqa: E402
from azure.identity import DefaultAzureCredential  # noqa: E402
from paho.mqtt.packettypes import PacketTypes  # noqa: E402
from paho.mqtt.properties import Properties  # noqa: E402

TOPIC = "devices/CXa-23112/prompt"
PATIENCE = 30

credential = DefaultAzureCredential()
token = credential.get_token("https://eventgrid.azure.net/.default").token

received, subscribed, connected = queue.Queue(), queue.Queue(), queue.Queue()
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "sample_client", protocol=mqtt.MQTTv5)
client.tls_set(CA)
client.on_connect = lambda _c, _u, _f, code, _p: connected.put(code.value)
client.on_subscribe = lambda _c, _u, _m, codes, _p: subscribed.put(codes[0].value)
client.on_message = lambda _c, _u, message: received.put(message)
properties = Properties(PacketTypes.CONNECT)
properties.AuthenticationMethod = "OAUTH2-JWT"
properties.AuthenticationData = token.encode()
client.connect("localhost", urlsplit(READY["mqtts"]).port, properties=properties)
client.loop_start()
assert connected.get(timeout=PATIENCE) == 0
client.subscribe("devices/#", 1)
assert subscribed.get(timeout=PATIENCE) == 1

pairs = [{"Urgency": "alert"}, {"RequestId": "55f4"}, {"Urgency": "again"}]
body = '{"prompt":"Hello"}'
answer = requests.post(
    f"{HTTPS}/mqtt/messages?topic={quote(TOPIC, safe='')}&api-version=2025-02-15-preview",
    data=body,
    headers={
        "authorization": f"Bearer {token}",
        "content-type": "application/json; charset=utf-8",
        "mqtt-qos": "1",
        "mqtt-response-topic": quote("devices/CXa-23112/reply", safe=""),
        "mqtt-correlation-data": base64.b64encode(b"\x00\xff>U").decode(),
        "mqtt-user-properties": base64.b64encode(json.dumps(pairs).encode()).decode(),
        "mqtt-message-expiry": "3600",
        "mqtt-payload-format-indicator": "1",
    },
)
assert answer.status_code == 202, (answer.status_code, answer.text)

message = received.get(timeout=PATIENCE)
got = message.properties
assert (message.topic, message.payload.decode(), message.qos, message.retain) == (TOPIC, body, 1, False)
assert got.ContentType == "application/json; charset=utf-8"
assert got.ResponseTopic == "devices/CXa-23112/reply"
assert got.CorrelationData == b"\x00\xff>U"
assert got.PayloadFormatIndicator == 1
assert 3590 <= got.MessageExpiryInterval <= 3600, got.MessageExpiryInterval
assert got.UserProperty == [("Urgency", "alert"), ("RequestId", "55f4"), ("Urgency", "again")]

consumer = EventGridConsumerClient(HTTPS, credential, namespace_topic="events", subscription="s1")
(routed,) = consumer.receive(max_events=10, max_wait_time=10)
event = routed.event
assert (event.type, event.source, event.subject) == ("MQTT.EventPublished", "nsname", TOPIC), event
assert event.data == {"prompt": "Hello"}, event.data
assert event.extensions == {"publisher": "33333333-3333-3333-3333-333333333333", "urgency": "alert,again"}
tokens = [routed.broker_properties.lock_token]
assert consumer.acknowledge(lock_tokens=tokens).succeeded_lock_tokens == tokens
client.disconnect()
client.loop_stop()
print("done")
