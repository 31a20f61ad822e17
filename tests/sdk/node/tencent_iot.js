// The vendor's Node SDK against a started emulator. Run by tests/sdk/tencent_iot.rs:
// `tencent_iot.js http://host:port`, with NODE_PATH at the installed packages. Its part for all
// products is enough: the whole package has every product of the vendor and a hundred megabytes.
const assert = require("node:assert");
const { CommonClient } = require("tencentcloud-sdk-nodejs-common");

const endpoint = process.argv[2].replace("http://", "");

function client(version, secretKey, reqMethod = "POST") {
  const common = new CommonClient("iotcloud.tencentcloudapi.com", version, {
    credential: { secretId: "AKIDEXAMPLE0000000000000000000000000", secretKey },
    region: "ap-guangzhou",
    profile: { httpProfile: { protocol: "http://", endpoint, reqMethod } },
  });
  return new Proxy({}, { get: (_, action) => (parameters) => common.request(action, parameters) });
}

const message = {
  ProductId: "ABCDE12345",
  DeviceName: "dev01",
  Topic: "ABCDE12345/dev01/control",
  Payload: "你好 'a' (b)!",
  Qos: 1,
};

async function refused(promise, code) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.code, code);
    assert.ok(error.requestId);
    return true;
  });
}

async function main() {
  for (const version of ["2018-06-14", "2021-04-08"]) {
    const cloud = client(version, "SecretKeyExample0000000000000000");
    assert.ok((await cloud.PublishMessage(message)).RequestId);
    const device = await cloud.DescribeDevices({ ProductId: "ABCDE12345", Offset: 0, Limit: 10 });
    assert.strictEqual(device.Devices[0].DeviceName, "dev01");
    const get = client(version, "SecretKeyExample0000000000000000", "GET");
    assert.ok((await get.PublishMessage(message)).RequestId);
    const unsigned = client(version, "wrong");
    await refused(unsigned.PublishMessage(message), "AuthFailure.SignatureFailure");
    await refused(cloud.PublishMessage({ ...message, Topic: "x" }), "FailedOperation.InvalidTopicName");
    await refused(cloud.PublishMessage({ ...message, Qos: 2 }), "InvalidParameterValue");
    await refused(
      cloud.CreateDevice({ ProductId: "ABCDE12345", DeviceName: "dev01" }),
      "InvalidParameterValue.DeviceAlreadyExist",
    );
  }
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
