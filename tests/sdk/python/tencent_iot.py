"""The vendor's Python cloud SDK and a paho device against a started emulator. Run by
tests/sdk/tencent_iot.rs."""

import base64
import json
import queue
import time

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tencent import MQTT_HOST, MQTT_PORT, Cloud, new_product, post, publish, sign


class Device:
    """A paho client with a device's credentials; every wait is for an event."""

    def __init__(self, product, device, psk, protocol=mqtt.MQTTv311):
        self.events = queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"{product}{device}",
                                  protocol=protocol, reconnect_on_failure=False)
        self.client.username_pw_set(*sign.mqtt(psk, product, device, int(time.time()) + 600))
        self.client.on_connect = lambda c, u, f, code, p: self.events.put(("connected", code.value))
        self.client.on_subscribe = lambda c, u, i, codes, p: self.events.put(
            ("subscribed", [code.value for code in codes]))
        self.client.on_publish = lambda c, u, i, code, p: self.events.put(("published", i))
        self.client.on_message = lambda c, u, m: self.events.put(
            ("message", (m.topic, m.payload.decode())))
        self.client.on_disconnect = lambda *_: self.events.put(("disconnected", None))
        self.client.connect(MQTT_HOST, MQTT_PORT)
        self.client.loop_start()

    def expect(self, kind):
        while True:
            seen, value = self.events.get(timeout=30)
            if seen == kind:
                return value

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        return self.expect("subscribed")


def versions():
    for version in ("v20180614", "v20210408"):
        cloud = Cloud(version)
        message = {"ProductId": "ABCDE12345", "DeviceName": "dev01",
                   "Topic": "ABCDE12345/dev01/control", "Payload": "你好 a+b&c", "Qos": 1}
        assert cloud.call("PublishMessage", **message).RequestId
        cloud.refused("ResourceNotFound.ProductOrDeviceNotExist", "PublishMessage",
                      **{**message, "DeviceName": "nobody"})
        cloud.refused("FailedOperation.InvalidTopicName", "PublishMessage",
                      **{**message, "Topic": "data"})
        cloud.refused("MissingParameter", "PublishMessage", ProductId="ABCDE12345")
        Cloud(version, key="wrong").refused("AuthFailure.SignatureFailure", "PublishMessage", **message)
        Cloud(version, region="").refused("MissingParameter", "PublishMessage", **message)
        Cloud(version, region="ap-tokyo").refused("UnsupportedRegion", "PublishMessage", **message)
        spelled = {"ProductID" if version == "v20180614" else "ProductId": "ABCDE12345"}
        assert cloud.call("DescribeDevice", DeviceName="dev01", **spelled).DevicePsk


def ways_of_signing():
    """By POST and by GET, with the newer signature and both of the older."""
    for method in ("POST", "GET"):
        for sign_method in ("TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"):
            cloud = Cloud("v20210408", method=method, sign_method=sign_method)
            message = {"ProductId": "ABCDE12345", "DeviceName": "dev01",
                       "Topic": "ABCDE12345/dev01/control", "Payload": "你好 a+b&c", "Qos": 1}
            assert cloud.call("PublishMessage", **message).RequestId
            cloud.refused("InvalidParameterValue", "PublishMessage", **{**message, "Qos": 2})
            cloud.call("UpdateDevicesEnableState", ProductId="ABCDE12345", DeviceNames=["dev01"], Status=1)
            wrong = Cloud("v20210408", key="wrong", method=method, sign_method=sign_method)
            wrong.refused("AuthFailure.SignatureFailure", "PublishMessage", **message)


def decrypted(answer, secret):
    """The key that a registration hands out, as the vendor's page says to read it."""
    cipher = Cipher(algorithms.AES(secret[:16].encode()), modes.CBC(b"0" * 16)).decryptor()
    plain = cipher.update(base64.b64decode(answer["Payload"])) + cipher.finalize()
    return json.loads(plain[:answer["Len"]])["psk"]


def life_of_a_device(protocol, name):
    cloud = Cloud("v20210408")
    product, secret = new_product(cloud, name)
    answer = post("/device/register", json.dumps({"ProductId": product, "DeviceName": "s1"}), secret)
    assert answer["State"] == 0, answer
    psk = decrypted(answer, secret)
    assert psk == cloud.call("DescribeDevice", ProductId=product, DeviceName="s1").DevicePsk
    topic = f"{product}/s1/data"
    assert "Error" not in publish(product, "s1", psk, topic, "before")
    device = Device(product, "s1", psk, protocol)
    assert device.expect("connected") == 0
    assert device.subscribe(topic) == [1]
    assert device.subscribe(f"{product}/other/data") == [0x80]
    assert "Error" not in publish(product, "s1", psk, topic, 'say "hi"')
    assert device.expect("message") == (topic, 'say "hi"')
    device.client.publish(topic, "by itself", 1)
    assert device.expect("message") == (topic, "by itself")
    cloud.call("PublishMessage", ProductId=product, DeviceName="s1", Topic=topic, Payload="down", Qos=1)
    assert device.expect("message") == (topic, "down")
    assert cloud.call("DescribeDevice", ProductId=product, DeviceName="s1").Online == 1
    cloud.call("UpdateDevicesEnableState", ProductId=product, DeviceNames=["s1"], Status=0)
    device.expect("disconnected")
    refused = publish(product, "s1", psk, topic, "after")
    assert refused["Error"]["Code"] == "UnauthorizedOperation.DeviceIsNotEnabled", refused
    cloud.refused("UnauthorizedOperation.DeviceIsNotEnabled", "PublishMessage", ProductId=product,
                  DeviceName="s1", Topic=topic, Payload="down", Qos=1)
    refused = post("/device/register", json.dumps({"ProductId": product, "DeviceName": "s1"}), secret)
    assert refused["Error"]["Code"] == "UnauthorizedOperation.DeviceIsNotEnabled", refused
    for _ in range(2):
        assert Device(product, "s1", psk, protocol).expect("connected") != 0
    assert cloud.call("DescribeDevice", ProductId=product, DeviceName="s1").Online == 0
    cloud.refused("UnauthorizedOperation.DevicesExistUnderProduct", "DeleteProduct", ProductId=product)
    cloud.call("DeleteDevice", ProductId=product, DeviceName="s1")
    cloud.call("DeleteProduct", ProductId=product)
    cloud.refused("ResourceNotFound.ProductNotExist", "DeleteProduct", ProductId=product)


versions()
ways_of_signing()
life_of_a_device(mqtt.MQTTv31, "sensors31")
life_of_a_device(mqtt.MQTTv311, "sensors311")
print("ok")
