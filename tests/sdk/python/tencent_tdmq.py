"""The vendor's own SDK, unmodified, against the cloud API; the data plane with urllib.

    sdk.py HOST:PORT all|kick
"""

import base64
import sys
import time
import urllib.error
import urllib.request

from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.mqtt.v20240516 import models, mqtt_client

ENDPOINT = sys.argv[1]
INSTANCE = "mqtt-test0001"
SECRET_ID = "AKIDEXAMPLE0000000000000000000000000"


def client(secret_key="SecretKeyExample0000000000000000"):
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=ENDPOINT))
    return mqtt_client.MqttClient(credential.Credential(SECRET_ID, secret_key), "ap-guangzhou", profile)


def call(action, who=None, **fields):
    request = getattr(models, action + "Request")()
    fields.setdefault("InstanceId", INSTANCE)
    if action == "DescribeInstanceList":
        del fields["InstanceId"]
    for name, value in fields.items():
        setattr(request, name, value)
    return getattr(who or client(), action)(request)


def refused(code, action, **fields):
    try:
        call(action, **fields)
    except TencentCloudSDKException as error:
        assert error.get_code() == code, error
        assert error.get_request_id(), error
        return
    raise AssertionError(f"{action} was not refused")


def publish(topic, user="dev-1:secret-1", body=b"hello"):
    authorization = "Basic " + base64.b64encode(user.encode()).decode()
    request = urllib.request.Request(
        f"http://{ENDPOINT}/topics/{topic}", data=body, headers={"Authorization": authorization})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers["X-Message-Id"]
    except urllib.error.HTTPError as error:
        return error.code, None


if sys.argv[2] == "kick":
    call("KickOutClient", ClientId="dev-sdk", DeleteSession=True)
    print("kicked")
    sys.exit()

start = int(time.time() * 1000) - 1000
assert publish("home")[0] == 401
call("CreateUser", Username="dev-1", Password="secret-1", Remark="made by the SDK")
users = call("DescribeUserList")
assert users.TotalCount == 2 and users.Data[1].Username == "dev-1" and users.Data[1].Password == "secret-1"
status, message_id = publish("home%2Froom?client_id=c1&UserProp.1.Key=k&UserProp.1.Value=v&ContentType=text/plain")
assert status == 200 and len(message_id) == 32

details = call("DescribeMessageDetails", MessageId=message_id)
assert details.Body == "hello" and details.OriginTopic == "home/room" and details.ClientId == "c1"
assert details.ContentType == "text/plain" and details.UserProperties[0].Value == "v" and details.Qos == "1"
listed = call("DescribeMessageList", Topic="home", StartTime=start, EndTime=start + 60000)
assert listed.TotalCount == 1 and listed.Data[0].MsgId == message_id and listed.Data[0].SubTopic == "room"
found = call("DescribeMessageByTopic", Topic="home/room", StartTime=start)
assert [message.MessageId for message in found.Data] == [message_id]

policy = dict(PolicyVersion=1, Actions="pub", Retain=3, Qos="0,1,2")
made = call("CreateAuthorizationPolicy", PolicyName="no-secrets", Priority=0, Effect="deny", Resources="secret/*", **policy)
assert publish("secret%2Fx")[0] == 403 and publish("home")[0] == 200
refused("FailedOperation.DuplicatePriority", "CreateAuthorizationPolicy", PolicyName="other", Priority=0, Effect="allow", **policy)
call("ModifyAuthorizationPolicy", Id=made.Id, Effect="allow")
assert publish("secret%2Fx")[0] == 200
priority = models.AuthorizationPolicyPriority()
priority.Id, priority.Priority = made.Id, 9
call("UpdateAuthorizationPolicyPriority", Priorities=[priority])
names = [item.PolicyName for item in call("DescribeAuthorizationPolicies").Data]
assert names == ["allow-all", "no-secrets"], names
call("DeleteAuthorizationPolicy", Id=made.Id)

call("CreateTopic", Topic="made", Remark="r")
topics = call("DescribeTopicList")
assert {topic.Topic for topic in topics.Data} == {"home", "secret", "made"} and topics.TotalCount == 3
assert call("DescribeTopic", Topic="made").Remark == "r"
call("DeleteTopic", Topic="made")
refused("ResourceNotFound.Topic", "DescribeTopic", Topic="made")

call("PublishMessage", TargetTopic="home/cloud", Payload="aGk=", Encoding="base64", Qos=2, Retain=True)
newest = call("DescribeMessageByTopic", Topic="home/#", StartTime=start, MaxNumber=1).Data[0]
assert newest.OriginTopic == "home/cloud" and newest.Qos == "2"
assert call("DescribeInstance").InstanceStatus == "RUNNING"
assert call("DescribeInstanceList").Data[0].InstanceId == INSTANCE
clients = call("DescribeClientList").Clients
assert [(one.ClientId, one.ConnectionStatus, one.ProtocolVersion) for one in clients] == [("dev-sdk", "CONNECTED", 5)]
assert [(one.TopicFilter, one.Qos) for one in clients[0].MQTTClientSubscriptions] == [("home/cloud", 1)]
assert call("DescribeClientList", OnlineStatus=2).Clients == []
call("PublishMessage", TargetClientId="dev-sdk", Payload="for you")
refused("ResourceNotFound", "KickOutClient", ClientId="nobody")
call("DeleteUser", Username="dev-1")
assert publish("home")[0] == 401
refused("ResourceNotFound.Username", "DeleteUser", Username="dev-1")
refused("InvalidAction", "DescribeBlockRuleList")
refused("MissingParameter", "PublishMessage", TargetTopic="home")
try:
    call("DescribeInstance", client("wrong"))
    raise AssertionError("a wrong key was taken")
except TencentCloudSDKException as error:
    assert error.get_code() == "AuthFailure.SignatureFailure", error
print("all done")
