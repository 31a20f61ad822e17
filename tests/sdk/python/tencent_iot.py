"""The vendor's Python SDK and a paho device against a started emulator. Run by
tests/sdk/tencent_iot.rs: `tencent_iot.py http://host:port host port`."""

import base64
import importlib
import json
import pathlib
import queue
import sys
import time
import urllib.request

import paho.mqtt.client as mqtt
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "fixtures/tencent-iot"))
import sign  # noqa: E402

URL, MQTT_HOST, MQTT_PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
SECRET_ID, SECRET_KEY = "AKIDEXAMPLE0000000000000000000000000", "SecretKeyExample0000000000000000"


class Cloud:
    """One version of the cloud API."""

    def __init__(self, version, key=SECRET_KEY, method="POST"):
        self.models = importlib.import_module(f"tencentcloud.iotcloud.{version}.models")
        client = importlib.import_module(f"tencentcloud.iotcloud.{version}.iotcloud_client")
        http = HttpProfile(protocol="http", endpoint=URL.removeprefix("http://"), reqMethod=method)
        self.client = client.IotcloudClient(
            Credential(SECRET_ID, key), "ap-guangzhou", ClientProfile(httpProfile=http))

    def call(self, action, **parameters):
        request = getattr(self.models, f"{action}Request")()
        request.from_json_string(json.dumps(parameters))
        return getattr(self.client, action)(request)

    def refused(self, code, action, **parameters):
        try:
            answer = self.call(action, **parameters)
        except TencentCloudSDKException as error:
            assert error.get_code() == code, (error.get_code(), code)
            assert error.get_request_id(), "an error carries its request id"
            return
        raise AssertionError(f"{action} was not refused: {answer}")


def publish(product, device, psk, topic, payload, qos=1):
    """POST /device/publish, as tencentyun/iot-device-python does it: the host without its port."""
    body = json.dumps({"ProductId": product, "DeviceName": device, "TopicName": topic,
                       "Payload": payload, "Qos": qos}, ensure_ascii=False)
    return post("/device/publish", body, psk)


def post(path, body, key):
    now = int(time.time())
    host = URL.removeprefix("http://").split(":")[0]
    text = sign.string_to_sign(host, path, "hmacsha256", now, 5456, body)
    request = urllib.request.Request(URL + path, body.encode(), {
        "Content-Type": "application/json; charset=utf-8", "X-TC-Algorithm": "hmacsha256",
        "X-TC-Timestamp": str(now), "X-TC-Nonce": "5456", "X-TC-Signature": sign.device(key, text)})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
        return json.load(answer)["Response"]


class Device:
    """A paho client with a device's credentials; every wait is for an event."""

    def __init__(self, product, device, psk):
        self.events = queue.Queue()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"{product}{device}",
                                  protocol=mqtt.MQTTv311, reconnect_on_failure=False)
        self.client.username_pw_set(*sign.mqtt(psk, product, device, int(time.time()) + 600))
        self.client.on_connect = lambda c, u, f, code, p: self.events.put(("connected", code.value))
        self.client.on_subscribe = lambda c, u, i, codes, p: self.events.put(
            ("subscribed", [code.value for code in codes]))
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
                   "Topic": "ABCDE12345/dev01/control", "Payload": "你好", "Qos": 1}
        assert cloud.call("PublishMessage", **message).RequestId
        cloud.refused("ResourceNotFound.ProductOrDeviceNotExist", "PublishMessage",
                      **{**message, "DeviceName": "nobody"})
        cloud.refused("FailedOperation.InvalidTopicName", "PublishMessage",
                      **{**message, "Topic": "data"})
        cloud.refused("MissingParameter", "PublishMessage", ProductId="ABCDE12345")
        Cloud(version, key="wrong").refused("AuthFailure.SignatureFailure", "PublishMessage", **message)
        assert Cloud(version, method="GET").call("PublishMessage", **message).RequestId
        spelled = {"ProductID" if version == "v20180614" else "ProductId": "ABCDE12345"}
        assert cloud.call("DescribeDevice", DeviceName="dev01", **spelled).DevicePsk


def life_of_a_device():
    cloud = Cloud("v20210408")
    product = cloud.call("CreateProduct", ProductName="sensors", ProductProperties={
        "EncryptionType": "2", "Region": "gz", "ProductType": 0}).ProductId
    dynamic = cloud.call("UpdateProductDynamicRegister", ProductId=product, RegisterType=2,
                         RegisterLimit=5)
    answer = post("/device/register", json.dumps({"ProductId": product, "DeviceName": "s1"}),
                  dynamic.ProductSecret)
    assert answer["State"] == 0, answer
    assert len(base64.b64decode(answer["Payload"])) % 16 == 0
    psk = cloud.call("DescribeDevice", ProductId=product, DeviceName="s1").DevicePsk
    topic = f"{product}/s1/data"
    assert "Error" not in publish(product, "s1", psk, topic, "before")
    device = Device(product, "s1", psk)
    assert device.expect("connected") == 0
    assert device.subscribe(topic) == [1]
    assert device.subscribe(f"{product}/other/data") == [0x80]
    assert "Error" not in publish(product, "s1", psk, topic, 'say "hi"')
    assert device.expect("message") == (topic, 'say "hi"')
    cloud.call("PublishMessage", ProductId=product, DeviceName="s1", Topic=topic, Payload="down", Qos=1)
    assert device.expect("message") == (topic, "down")
    assert cloud.call("DescribeDevice", ProductId=product, DeviceName="s1").Online == 1
    cloud.call("UpdateDevicesEnableState", ProductId=product, DeviceNames=["s1"], Status=0)
    device.expect("disconnected")
    refused = publish(product, "s1", psk, topic, "after")
    assert refused["Error"]["Code"] == "UnauthorizedOperation.DeviceIsNotEnabled", refused
    again = Device(product, "s1", psk)
    assert again.expect("connected") != 0
    cloud.refused("UnauthorizedOperation.DevicesExistUnderProduct", "DeleteProduct", ProductId=product)
    cloud.call("DeleteDevice", ProductId=product, DeviceName="s1")
    cloud.call("DeleteProduct", ProductId=product)
    cloud.refused("ResourceNotFound.ProductNotExist", "DeleteProduct", ProductId=product)


versions()
life_of_a_device()
print("ok")
