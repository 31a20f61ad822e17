"""What the Tencent scripts share: the vendor's cloud SDK pointed at the emulator, and a device's
signed HTTP calls. Each script is run as `script.py http://host:port mqtt-host mqtt-port`."""

import importlib
import json
import sys
import time
import urllib.request

from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

import tencent_sign as sign

URL, MQTT_HOST, MQTT_PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
SECRET_ID, SECRET_KEY = "AKIDEXAMPLE0000000000000000000000000", "SecretKeyExample0000000000000000"


class Cloud:
    """One version of the cloud API, called and signed in one way."""

    def __init__(self, version, key=SECRET_KEY, method="POST", sign_method="TC3-HMAC-SHA256",
                 region="ap-guangzhou"):
        self.models = importlib.import_module(f"tencentcloud.iotcloud.{version}.models")
        client = importlib.import_module(f"tencentcloud.iotcloud.{version}.iotcloud_client")
        http = HttpProfile(protocol="http", endpoint=URL.removeprefix("http://"), reqMethod=method)
        profile = ClientProfile(signMethod=sign_method, httpProfile=http)
        self.client = client.IotcloudClient(Credential(SECRET_ID, key), region, profile)

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


def new_product(cloud, name):
    """A product of key devices that register themselves; its id and secret."""
    product = cloud.call("CreateProduct", ProductName=name, ProductProperties={
        "EncryptionType": "2", "Region": "gz", "ProductType": 0}).ProductId
    dynamic = cloud.call("UpdateProductDynamicRegister", ProductId=product, RegisterType=2,
                         RegisterLimit=5)
    return product, dynamic.ProductSecret
