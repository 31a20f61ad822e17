"""aliyun-python-sdk-core with aliyun-python-sdk-onsmqtt: signature version 1.0."""

import json

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest
from aliyunsdkonsmqtt.request.v20200420.SendMessageRequest import SendMessageRequest

from agent import serve


def typed(command):
    """The product's request class: every parameter in the query."""
    request = SendMessageRequest()
    if "instance" in command:
        request.set_InstanceId(command["instance"])
    if "topic" in command:
        request.set_MqttTopic(command["topic"])
    if "payload" in command:
        request.set_Payload(command["payload"])
    return request


def common(command):
    """The core's generic request: the business parameters in the body."""
    request = CommonRequest(product="OnsMqtt", version="2020-04-20", action_name="SendMessage")
    request.set_method("POST")
    for name, key in (("InstanceId", "instance"), ("MqttTopic", "topic"), ("Payload", "payload")):
        if key in command:
            request.add_body_params(name, command[key])
    return request


def send(command):
    host, port = command["endpoint"].split(":")
    client = AcsClient(command["key"], command["secret"], "cn-hangzhou", port=int(port))
    request = {"typed": typed, "common": common}[command["variant"]](command)
    if request.get_product() == "OnsMqtt" and isinstance(request, CommonRequest):
        request.set_domain(host)
    else:
        request.set_endpoint(host)
    request.set_accept_format("json")
    return json.loads(client.do_action_with_exception(request))


def describe(error):
    seen = {"code": error.get_error_code(), "message": error.get_error_msg()}
    if isinstance(error, ServerException):
        seen |= {"status": error.get_http_status(), "request_id": error.get_request_id()}
    return seen


serve(send, describe)
