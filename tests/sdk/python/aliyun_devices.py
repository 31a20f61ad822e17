"""One of the vendor's Python SDKs and paho devices that use what it returns, against a started emulator.
Run by tests/sdk/aliyun.rs: `aliyun_devices.py SDK http-host:port mqtt-host:port`. Every wait is for an
event or asks again until the answer is there, a bounded time."""

import base64
import hashlib
import hmac
import json
import queue
import sys
import time

import paho.mqtt.client as mqtt

from aliyun_clouds import CLOUDS

PATIENCE = 30
INSTANCE, REGION, GROUP = "post-cn-test0001", "cn-hangzhou", "GID_test"
KEY, SECRET = "testid", "testsecret"


def signed(secret, client_id):
    """The password of Signature and DeviceCredential, as the vendor's documents make it."""
    digest = hmac.new(secret.encode(), client_id.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def with_key(client_id):
    return f"Signature|{KEY}|{INSTANCE}", signed(SECRET, client_id)


def with_tokens(password):
    return f"Token|{KEY}|{INSTANCE}", password


def with_credential(credential):
    user = f"DeviceCredential|{credential['DeviceAccessKeyId']}|{INSTANCE}"
    return user, signed(credential["DeviceAccessKeySecret"], credential["ClientId"])


class Device:
    """A paho client. What its network thread sees waits in `events`."""

    def __init__(self, broker, client_id, login, protocol=mqtt.MQTTv311, clean=True):
        host, port = broker.split(":")
        self.events = queue.Queue()
        options = {} if protocol == mqtt.MQTTv5 else {"clean_session": clean}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id,
            protocol=protocol,
            reconnect_on_failure=False,
            **options,
        )
        self.client.username_pw_set(*login)
        see = self.events.put
        self.client.on_connect = lambda c, u, f, code, p: see(("connected", code.getName()))
        self.client.on_subscribe = lambda c, u, i, codes, p: see(("subscribed", [x.value for x in codes]))
        self.client.on_publish = lambda c, u, i, code, p: see(("published", code.value))
        self.client.on_message = lambda c, u, m: see(("message", (m.topic, m.payload.decode())))
        self.client.on_disconnect = lambda *_: see(("disconnected", None))
        self.client.connect(host, int(port))
        self.client.loop_start()

    def expect(self, kind):
        """The next event of a kind; others before it are passed over."""
        while True:
            seen, value = self.events.get(timeout=PATIENCE)
            if seen == kind:
                return value
            assert seen != "disconnected", f"disconnected while waiting for {kind}"

    def subscribe(self, topic):
        self.client.subscribe(topic, 1)
        assert self.expect("subscribed") == [1]

    def publish(self, topic, payload, qos=1):
        self.client.publish(topic, payload, qos)
        self.expect("published")

    def leave(self):
        self.client.disconnect()
        self.expect("disconnected")


class Scene:
    """A cloud, its broker, and who is played."""

    def __init__(self, cloud, broker):
        self.cloud, self.broker = cloud, broker

    def call(self, action, **parameters):
        return self.cloud.call(action, InstanceId=INSTANCE, **parameters)

    def refused(self, code, action, **parameters):
        self.cloud.refused(code, action, InstanceId=INSTANCE, **parameters)

    def token(self, actions, resources, seconds=3600):
        expires = int((time.time() + seconds) * 1000)
        answer = self.call("ApplyToken", Actions=actions, Resources=resources, ExpireTime=expires)
        return answer["Token"]

    def device(self, client_id, login, **options):
        device = Device(self.broker, client_id, login, **options)
        assert device.expect("connected") == "Success"
        return device

    def shut_out(self, client_id, login):
        """That a CONNECT is refused: by the code for a bad password in both protocol versions."""
        for protocol in (mqtt.MQTTv311, mqtt.MQTTv5):
            device = Device(self.broker, client_id, login, protocol=protocol)
            assert device.expect("connected") == "Bad user name or password"

    def until(self, what, found):
        """Asks until something is there."""
        end = time.monotonic() + PATIENCE
        while not (value := found()):
            assert time.monotonic() < end, f"never {what}"
        return value

    def online(self, client_id):
        return self.call("QuerySessionByClientId", ClientId=client_id)["OnlineStatus"]


def tokens(scene):
    me = f"{GROUP}@@@token"
    token = scene.token("R,W", "demo/#")
    assert scene.call("QueryToken", Token=token)["TokenStatus"] is True
    for protocol in (mqtt.MQTTv311, mqtt.MQTTv5):
        device = scene.device(me, with_tokens(f"RW|{token}"), protocol=protocol)
        device.subscribe("demo/a")
        scene.call("SendMessage", MqttTopic="demo/a", Payload="你好")
        assert device.expect("message") == ("demo/a", "你好")
        device.publish("demo/a", "mine")
        assert device.expect("message") == ("demo/a", "mine")
        device.leave()
    device = scene.device(me, with_tokens(f"RW|{token}"))
    scene.call("RevokeToken", Token=token)
    topic, notice = device.expect("message")
    assert topic == "$SYS/tokenInvalidNotice"
    assert json.loads(notice) == {"code": 3, "type": "RW"}
    device.expect("disconnected")
    assert scene.call("QueryToken", Token=token)["TokenStatus"] is False
    scene.shut_out(me, with_tokens(f"RW|{token}"))


def tokens_with_part_of_the_rights(scene):
    read, write = scene.token("R", "demo/in"), scene.token("W", "demo/out")
    login = with_tokens(f"R|{read}|W|{write}")
    device = scene.device(f"{GROUP}@@@parts", login)
    device.subscribe("demo/in")
    device.publish("demo/out", "allowed")
    device.client.publish("demo/in", "not allowed", 1)
    device.expect("disconnected")
    device = scene.device(f"{GROUP}@@@parts", login)
    device.client.subscribe("demo/out", 1)
    while device.events.get(timeout=PATIENCE)[0] != "disconnected":
        pass
    # A new one of the same type takes the old one's place without a new connection.
    device = scene.device(f"{GROUP}@@@parts", login)
    newer = scene.token("W", "demo/else")
    device.publish("$SYS/uploadToken", json.dumps({"token": newer, "type": "W"}))
    scene.call("RevokeToken", Token=write)
    device.publish("demo/else", "allowed now")
    scene.refused("ParameterCheckFailed", "ApplyToken", Actions="R", Resources="demo", ExpireTime=1)
    scene.call("RevokeToken", Token=newer)
    assert json.loads(device.expect("message")[1]) == {"code": 3, "type": "W"}
    device.expect("disconnected")


def device_credentials(scene):
    me = f"{GROUP}@@@credential"
    mine = {"ClientId": me}
    scene.refused("DeviceCredentialNotFound", "GetDeviceCredential", **mine)
    first = scene.call("RegisterDeviceCredential", **mine)["DeviceCredential"]
    assert (first["ClientId"], first["InstanceId"]) == (me, INSTANCE)
    scene.refused("DeviceCredentialExsit", "RegisterDeviceCredential", **mine)
    assert scene.call("GetDeviceCredential", **mine)["DeviceCredential"] == first
    scene.device(me, with_credential(first)).leave()
    second = scene.call("RefreshDeviceCredential", **mine)["DeviceCredential"]
    assert second["DeviceAccessKeySecret"] != first["DeviceAccessKeySecret"]
    assert second["CreateTime"] == first["CreateTime"] <= second["UpdateTime"]
    scene.shut_out(me, with_credential(first))
    device = scene.device(me, with_credential(second))
    scene.call("UnRegisterDeviceCredential", **mine)
    # It stays, and cannot come back.
    device.publish("demo/a", "still here")
    device.leave()
    scene.shut_out(me, with_credential(second))
    scene.refused("DeviceCredentialNotFound", "UnRegisterDeviceCredential", **mine)


def groups(scene):
    group = "GID_python"
    me = f"{group}@@@1"
    scene.refused("ParameterFieldCheckFailed", "CreateGroupId", GroupId="python")
    scene.call("CreateGroupId", GroupId=group)
    scene.refused("GroupIdAlreadyExsited", "CreateGroupId", GroupId=group)
    listed = {entry["GroupId"]: entry for entry in scene.call("ListGroupId")["Data"]}
    assert {GROUP, group} <= set(listed)
    assert listed[group]["InstanceId"] == INSTANCE
    device = scene.device(me, with_key(me))
    scene.call("DeleteGroupId", GroupId=group)
    device.publish("demo/a", "still here")
    device.leave()
    refused = Device(scene.broker, me, with_key(me))
    assert refused.expect("connected") != "Success"
    assert group not in [entry["GroupId"] for entry in scene.call("ListGroupId")["Data"]]


def sessions(scene):
    here, away = f"{GROUP}@@@here", f"{GROUP}@@@away"
    assert scene.online(here) is False
    device = scene.device(here, with_key(here))
    scene.until("online", lambda: scene.online(here))
    statuses = scene.call("BatchQuerySessionByClientIds", ClientIdList=[here, away])
    assert [(each["ClientId"], each["OnlineStatus"]) for each in statuses["OnlineStatusList"]] == [
        (here, True),
        (away, False),
    ]
    if scene.cloud.has("CloseConnection"):
        assert scene.call("CloseConnection", ClientId=here)["Success"] is True
        device.expect("disconnected")
    else:
        device.leave()
    scene.until("offline", lambda: not scene.online(here))


def traces(scene):
    if not scene.cloud.has("QueryMqttTraceDevice"):
        return
    me, peer = f"{GROUP}@@@traced", f"{GROUP}@@@peer"
    span = {"MqttRegionId": REGION, "BeginTime": int(time.time() * 1000) - 1000}
    page = {"CurrentPage": 1, "PageSize": 100}

    def ask(action, name, **more):
        return scene.call(action, EndTime=int(time.time() * 1000) + 1000, **span, **more)[name]

    def of_client(client_id, action):
        rows = ask("QueryMqttTraceMessageOfClient", "MessageOfClientList", ClientId=client_id, **page)
        return [row for row in rows if row["Action"] == action]

    device = scene.device(me, with_key(me))
    receiver = scene.device(peer, with_key(peer))
    receiver.subscribe("demo/trace")
    device.publish("demo/trace", "from a device")
    assert receiver.expect("message") == ("demo/trace", "from a device")
    by_server = scene.call("SendMessage", MqttTopic="demo/trace", Payload="from a server")["MsgId"]
    assert receiver.expect("message") == ("demo/trace", "from a server")

    (sent,) = scene.until("traced", lambda: of_client(me, "pub_mqtt"))
    by_device = sent["MsgId"]
    assert (sent["ActionCode"], sent["ClientId"]) == ("mqtt.trace.action.msg.pub.mqtt", me)
    received = scene.until("both traced", lambda: (rows := of_client(peer, "sub"))[1:] and rows)
    # A row's time is that of its last step: the first message may be acknowledged behind the second.
    assert sorted(row["MsgId"] for row in received) == sorted([by_device, by_server])
    for message, action, sender in ((by_device, "pub_mqtt", me), (by_server, "pub_mq", "")):
        (row,) = ask("QueryMqttTraceMessagePublish", "MessageTraceLists", MsgId=message)
        assert (row["MsgId"], row["Action"], row.get("ClientId") or "") == (message, action, sender)
        (row,) = ask("QueryMqttTraceMessageSubscribe", "MessageTraceLists", MsgId=message, **page)
        assert (row["Action"], row["ClientId"]) == ("sub", peer)
    device.leave()

    def connections():
        rows = ask("QueryMqttTraceDevice", "DeviceInfoList", ClientId=me, Reverse=True, **page)
        return rows[0]["Action"] == "disconnect" and rows

    left, came = scene.until("left", connections)
    assert left["ActionInfo"] == "disconnected by client"
    assert (came["Action"], came["ActionInfo"]) == ("connect", "accepted")
    assert came["ChannelId"] == left["ChannelId"]


def custom_authentication(scene):
    if not scene.cloud.has("AddCustomAuthIdentity"):
        return
    me = f"{GROUP}@@@custom"
    alice = {"Username": "alice", "IdentityType": "USER"}
    rule = {"Identity": "alice", "IdentityType": "USER", "Topic": "demo/#"}
    scene.call("AddCustomAuthIdentity", Secret="wonder", SignMode="ORIGIN", **alice)
    scene.call("AddCustomAuthPermission", PermitAction="SUB", Effect="ALLOW", **rule)
    device = scene.device(me, ("alice", "wonder"))
    device.subscribe("demo/a")
    device.client.publish("demo/a", "not allowed", 1)
    device.expect("disconnected")
    scene.call("UpdateCustomAuthIdentity", Secret="wonder", SignMode="SIGNED", **alice)
    scene.call("UpdateCustomAuthPermission", PermitAction="PUB_SUB", Effect="ALLOW", **rule)
    scene.shut_out(me, ("alice", "wonder"))
    device = scene.device(me, ("alice", signed("wonder", me)))
    device.publish("demo/a", "allowed")
    device.leave()
    (found,) = scene.call("QueryCustomAuthIdentity", Size=10)["Data"]["Results"]
    assert (found["Username"], found["SignMode"]) == ("alice", "SIGNED")
    (found,) = scene.call("QueryCustomAuthPermission", Size=10)["Data"]["Results"]
    assert (found["Topic"], found["PermitAction"]) == ("demo/#", "PUB_SUB")
    scene.call("AddCustomAuthConnectBlack", ClientId=me)
    (found,) = scene.call("QueryCustomAuthConnectBlack", Size=10)["Data"]["Results"]
    assert found == {"ClientId": me, "PermitAction": "CONNECT", "Effect": "DENY"}
    black = Device(scene.broker, me, ("alice", signed("wonder", me)))
    assert black.expect("connected") != "Success"
    scene.call("DeleteCustomAuthConnectBlack", ClientId=me)
    scene.device(me, ("alice", signed("wonder", me))).leave()
    scene.call("DeleteCustomAuthPermission", **rule)
    scene.call("DeleteCustomAuthIdentity", **alice)
    # Nothing claims the user name any more: it is an open client like any other.


def lists(scene):
    if not scene.cloud.has("ListInstances"):
        return
    instances = scene.cloud.call("ListInstances")["Instances"]
    assert INSTANCE in [instance["InstanceId"] for instance in instances]
    ids = [f"{GROUP}@@@listed{number}" for number in range(3)]
    for client_id in ids:
        scene.call("RegisterDeviceCredential", ClientId=client_id)
    seen, more = [], {}
    while True:
        page = scene.call("ListDeviceCredentialClientId", GroupId=GROUP, PageSize="2", **more)
        page = page["DeviceCredentialClientIdList"]
        assert page["Total"] == "3"
        seen += page["ClientIdList"]
        if not page.get("NextToken"):
            break
        more = {"NextToken": page["NextToken"]}
    assert seen == ids
    scene.cloud.refused("ApiNotSupport", "GetRegisterCode", MqttInstanceId=INSTANCE)


def main(sdk, endpoint, broker):
    scene = Scene(CLOUDS[sdk](endpoint, KEY, SECRET), broker)
    for act in (
        tokens,
        tokens_with_part_of_the_rights,
        device_credentials,
        groups,
        sessions,
        traces,
        custom_authentication,
        lists,
    ):
        act(scene)
    print("ok")


main(*sys.argv[1:])
