"""The vendor's Python device SDK, registered, connected and disabled, with its cloud SDK on the
other end. Run by tests/sdk/tencent_iot.rs.

The device SDK knows the vendor's host names and ports alone: this program's name resolution
leads them to the emulator, as a user's would."""

import base64
import json
import os
import queue
import socket
import sys
import tempfile

from hub.hub import QcloudHub

from tencent import MQTT_HOST, MQTT_PORT, URL, Cloud, new_product, publish

connect = socket.create_connection


def led_here(address, *rest, **more):
    host, port = address
    if host.endswith(".tencentdevices.com"):
        here = URL.removeprefix("http://").split(":")
        address = {80: (here[0], int(here[1])), 1883: (MQTT_HOST, MQTT_PORT)}[port]
    return connect(address, *rest, **more)


socket.create_connection = led_here


class Device:
    """The SDK's hub; every wait is for an event."""

    def __init__(self, product, secret, name):
        self.names = product, name
        self.events = queue.Queue()
        self.file = tempfile.NamedTemporaryFile("w", suffix=".json")
        json.dump({"auth_mode": "KEY", "productId": product, "productSecret": secret, "deviceName": name,
                   "key_deviceinfo": {"deviceSecret": "YOUR_DEVICE_SECRET"}, "region": "china",
                   "cert_deviceinfo": {"devCaFile": "", "devCertFile": "", "devPrivateKeyFile": ""}},
                  self.file)
        self.file.flush()
        self.hub = QcloudHub(device_file=self.file.name, tls=False).hub
        self.hub.registerMqttCallback(
            lambda flags, code, user: self.events.put(("connected", code)),
            lambda code, user: self.events.put(("disconnected", code)),
            self.on_message,
            lambda mid, user: self.events.put(("published", mid)),
            lambda qos, mid, user: self.events.put(("subscribed", qos)),
            lambda mid, user: self.events.put(("unsubscribed", mid)))

    def on_message(self, topic, qos, payload, userdata):
        self.events.put(("message", (topic, payload)))

    def expect(self, kind):
        while True:
            seen, value = self.events.get(timeout=30)
            if seen == kind:
                return value

    def subscribe(self, topic):
        self.hub.registerUserCallback(topic, self.on_message)
        assert self.hub.subscribe(topic, 1)[0] == 0
        return self.expect("subscribed")


cloud = Cloud("v20210408")
product, product_secret = new_product(cloud, "sdkdevices")
names = {"ProductId": product, "DeviceName": "s1"}
device = Device(product, product_secret, "s1")
code, psk = device.hub.dynregDevice()
assert code == 0, psk
assert psk == cloud.call("DescribeDevice", **names).DevicePsk

device.hub.connect()
assert device.expect("connected") == 0
assert cloud.call("DescribeDevice", **names).Online == 1
data, control = f"{product}/s1/data", f"{product}/s1/control"
assert device.subscribe(data) == 1
assert device.subscribe(control) == 1
assert device.subscribe(f"{product}/s2/data") == 0x80
assert "Error" not in publish(product, "s1", psk, data, '{"t":21}')
assert device.expect("message") == (data, {"t": 21})
device.hub.publish(data, {"t": 22}, 1)
assert device.expect("message") == (data, {"t": 22})
cloud.call("PublishMessage", Topic=control, Payload='{"on":true}', Qos=1, **names)
assert device.expect("message") == (control, {"on": True})
assert device.hub.getNtpAccurateTime() > 0

device.hub.shadowInit(*device.names, device.on_message)
assert device.expect("subscribed") == 0
device.hub.getShadow(*device.names)
assert device.expect("message")[1]["payload"] == {"state": {}, "metadata": {}, "version": 0}
cloud.call("UpdateDeviceShadow", State='{"desired":{"t":25}}', ShadowVersion=0, **names)
delta = device.expect("message")[1]
assert (delta["type"], delta["payload"]["state"]) == ("delta", {"t": 25}), delta
taken = device.hub.shadowJsonConstructDesireAllNull(*device.names)
device.hub.shadowUpdate(*device.names, taken, len(taken))
assert device.expect("message")[1]["result"] == 0

device.hub.broadcastInit(*device.names, device.on_message)
assert device.expect("subscribed") == 0
cloud.call("PublishBroadcastMessage", ProductId=product, Payload='"all"', Qos=0)
assert device.expect("message") == (f"$broadcast/rxd/{product}/s1", "all")


def answer(topic, qos, payload, userdata):
    device.hub.rrpcReply(*device.names, f"{payload} answered", 0)


device.hub.rrpcInit(*device.names, answer)
assert device.expect("subscribed") == 0
told = cloud.call("PublishRRPCMessage", Payload='"asked"', **names)
assert json.loads(base64.b64decode(told.PayloadBase64)) == "asked answered", told

cloud.call("UpdateDevicesEnableState", ProductId=product, DeviceNames=["s1"], Status=0)
device.expect("disconnected")
assert "DeviceIsNotEnabled" in publish(product, "s1", psk, data, "{}")["Error"]["Code"]
assert device.hub.dynregDevice()[0] == -1
assert cloud.call("DescribeDevice", **names).Online == 0
print("ok", flush=True)
sys.stderr.flush()
# The SDK's threads would try to connect for ever.
os._exit(0)
