"""Every recorded CONNECT credential of Aliyun with paho, in each protocol version: right, and wrong in the
ways in which people get it wrong. Run by tests/sdk/aliyun.rs:
`aliyun_logins.py http://host:port mqtt-host:port vectors.json`."""

import base64
import hashlib
import hmac
import json
import queue
import sys
import urllib.request

import paho.mqtt.client as mqtt

PATIENCE = 30
VERSIONS = (mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5)


def connects(broker, version, client_id, username, password):
    """What the CONNACK says, once the connection has ended again."""
    host, port = broker.split(":")
    told, ended = queue.Queue(), queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False)
    client.username_pw_set(username, password)

    def connected(_client, _userdata, _flags, code, _properties):
        told.put(code.getName())
        client.disconnect()

    client.on_connect = connected
    client.on_disconnect = lambda *_: ended.put(None)
    client.connect(host, int(port))
    client.loop_start()
    code = told.get(timeout=PATIENCE)
    ended.get(timeout=PATIENCE)
    client.loop_stop()
    return code


def reason(url):
    """What the journal says of the newest refusal."""
    with urllib.request.urlopen(f"{url}/_mqttstack/requests?limit=1") as answer:
        return json.load(answer)["requests"][0]["reason"]


def hmac_sha1(key, text):
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()


def wrong(vector):
    """Passwords that are wrong, each with what the journal must say of it."""
    if vector["mode"] == "Token":
        kind, token = vector["password"].split("|")[:2]
        yield f"{kind}|{token}x", "none that ApplyToken gave out"
        yield token, "not pairs of type and token"
        yield f"X|{token}", "none of R, W and RW"
        return
    key, client_id = vector["key"], vector["client_id"]
    group, device = client_id.split("@@@")
    yield hmac_sha1(key, group), "it is the HMAC of the group id"
    yield hmac_sha1(key, device), "it is the HMAC of the device id"
    yield hmac_sha1(f"{key}&", client_id), "the secret with & behind it"
    yield key, "it is the secret itself"
    yield hmac_sha1("something else", client_id), "it is not the one under the secret"


def main(url, broker, file):
    with open(file, encoding="utf-8") as vectors:
        examples = json.load(vectors)["examples"]
    for vector in examples:
        client_id, username = vector["client_id"], vector["username"]
        for version in VERSIONS:
            code = connects(broker, version, client_id, username, vector["password"])
            assert code == "Success", (vector, version, code)
            for password, mistake in wrong(vector):
                code = connects(broker, version, client_id, username, password)
                assert code == "Bad user name or password", (vector, password, code)
                assert mistake in reason(url), (vector, password, reason(url))
    print("ok")


main(*sys.argv[1:])
