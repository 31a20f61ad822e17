// The vendor's Node SDK against a started emulator. Run by tests/sdk/tencent_tdmq.rs:
// `tencent_tdmq.js http://host:port mqtt-host mqtt-port`, with NODE_PATH at the installed packages.
// There is no package for this product alone; the part for all products is what the whole
// package calls with.
const assert = require("node:assert");
const { CommonClient } = require("tencentcloud-sdk-nodejs-common");
const mqtt = require("mqtt");

const [, , url, mqttHost, mqttPort] = process.argv;
const InstanceId = "mqtt-test0001";

function client(secretKey = "SecretKeyExample0000000000000000", reqMethod = "POST") {
  const common = new CommonClient("mqtt.tencentcloudapi.com", "2024-05-16", {
    credential: { secretId: "AKIDEXAMPLE0000000000000000000000000", secretKey },
    region: "ap-guangzhou",
    profile: { httpProfile: { protocol: "http://", endpoint: url.replace("http://", ""), reqMethod } },
  });
  return new Proxy(
    {},
    { get: (_, action) => (parameters) => common.request(action, { InstanceId, ...parameters }) },
  );
}

async function refused(promise, code) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.code, code);
    assert.ok(error.requestId);
    return true;
  });
}

function connect(username, password, clientId) {
  return mqtt.connectAsync(`mqtt://${mqttHost}:${mqttPort}`, {
    username,
    password,
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
}

function publish(topic, authorization) {
  const headers = { Authorization: "Basic " + Buffer.from(authorization).toString("base64") };
  return fetch(`${url}/topics/${encodeURIComponent(topic)}?qos=1`, { method: "POST", headers, body: "21.5" });
}

async function main() {
  const cloud = client();
  await cloud.CreateUser({ Username: "dev-1", Password: "secret-1" });
  const users = await cloud.DescribeUserList({ Filters: [{ Name: "Username", Values: ["dev"] }] });
  assert.strictEqual(users.TotalCount, 1);
  assert.strictEqual(users.Data[0].Password, "secret-1");

  const device = await connect("dev-1", "secret-1", "node-device");
  const messages = [];
  const arrived = (count) =>
    new Promise((resolve) => {
      const look = () => messages.length >= count && resolve();
      device.on("message", look);
      look();
    });
  device.on("message", (topic, payload) => messages.push([topic, payload.toString()]));
  await device.subscribeAsync("home/#", { qos: 1 });
  const listed = await cloud.DescribeClientList({ ClientId: "node-device" });
  assert.strictEqual(listed.Clients[0].ConnectionStatus, "CONNECTED");
  assert.deepStrictEqual(listed.Clients[0].MQTTClientSubscriptions, [{ TopicFilter: "home/#", Qos: 1 }]);

  const answer = await publish("home/room", "dev-1:secret-1");
  assert.strictEqual(answer.status, 200);
  await cloud.PublishMessage({ TargetTopic: "home/cloud", Payload: Buffer.from("hi").toString("base64"), Encoding: "base64" });
  await client(undefined, "GET").PublishMessage({ TargetTopic: "home/get", Payload: "你好 'a' (b)!", Qos: 1 });
  await cloud.PublishMessage({ TargetClientId: "node-device", Payload: "for you" });
  await arrived(4);
  assert.deepStrictEqual(messages, [
    ["home/room", "21.5"],
    ["home/cloud", "hi"],
    ["home/get", "你好 'a' (b)!"],
    ["mqtt/p2p/node-device", "for you"],
  ]);
  const details = await cloud.DescribeMessageDetails({ MessageId: answer.headers.get("X-Message-Id") });
  assert.strictEqual(details.Body, "21.5");
  assert.strictEqual(details.OriginTopic, "home/room");

  const made = await cloud.CreateAuthorizationPolicy({
    PolicyName: "no-secrets", PolicyVersion: 1, Priority: 0, Effect: "deny", Actions: "pub",
    Retain: 3, Qos: "0,1,2", Resources: "home/secret/*",
  });
  assert.strictEqual((await publish("home/secret/1", "dev-1:secret-1")).status, 403);
  await cloud.DeleteAuthorizationPolicy({ Id: made.Id });
  assert.strictEqual((await publish("home/secret/1", "dev-1:secret-1")).status, 200);

  await cloud.CreateJWTAuthenticator({ Algorithm: "hmac-based", From: "password", Secret: "jwt-secret" });
  const authenticators = await cloud.DescribeAuthenticator({ Type: "JWT" });
  assert.strictEqual(JSON.parse(authenticators.Authenticators[0].Config).algorithm, "hmac-based");
  await cloud.DeleteAuthenticator({ Type: "JWT" });

  const closed = new Promise((resolve) => device.on("close", resolve));
  await cloud.KickOutClient({ ClientId: "node-device", DeleteSession: true });
  await closed;
  await cloud.DeleteUser({ Username: "dev-1" });
  assert.strictEqual((await publish("home/room", "dev-1:secret-1")).status, 401);

  await refused(cloud.DeleteUser({ Username: "dev-1" }), "ResourceNotFound.Username");
  await refused(cloud.CreateUser({ Username: "user0" }), "UnsupportedOperation.ResourceAlreadyExists");
  await refused(cloud.PublishMessage({ TargetTopic: "home" }), "MissingParameter");
  await refused(cloud.PublishMessage({ TargetTopic: "home/#", Payload: "x" }), "InvalidParameterValue");
  await refused(cloud.DescribeUserList({ Limit: 101 }), "InvalidParameterValue");
  await refused(cloud.DescribeBlockRuleList({}), "InvalidAction");
  await refused(client("wrong").DescribeInstance({}), "AuthFailure.SignatureFailure");
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
