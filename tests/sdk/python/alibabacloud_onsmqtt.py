"""alibabacloud-onsmqtt20200420: signature version 1.0 up to 1.0.2, ACS3-HMAC-SHA256 since 1.1.0."""

from alibabacloud_onsmqtt20200420.client import Client
from alibabacloud_onsmqtt20200420.models import SendMessageRequest
from alibabacloud_tea_openapi.models import Config

from agent import serve


def send(command):
    client = Client(
        Config(
            access_key_id=command["key"],
            access_key_secret=command["secret"],
            endpoint=command["endpoint"],
            protocol="http",
        )
    )
    answer = client.send_message(
        SendMessageRequest(
            instance_id=command.get("instance"),
            mqtt_topic=command.get("topic"),
            payload=command.get("payload"),
        )
    )
    return answer.body.to_map()


def describe(error):
    names = ("code", "message", "request_id", "retry_after")
    seen = {name: getattr(error, name, None) for name in names}
    seen["status"] = getattr(error, "status_code", None) or getattr(error, "statusCode", None)
    return seen


serve(send, describe)
