// The vendor's Node SDK against a started emulator. Run by tests/sdk/tencent_iot.rs:
// `tencent_iot.js http://host:port`, with NODE_PATH at the installed packages. Its part for all
// products is enough: the whole package has every product of the vendor and a hundred megabytes.
const assert = require("node:assert");
const { CommonClient } = require("tencentcloud-sdk-nodejs-common");

const endpoint = process.argv[2].replace("http://", "");

function client(version, secretKey, reqMethod = "POST", signMethod = "TC3-HMAC-SHA256") {
  const common = new CommonClient("iotcloud.tencentcloudapi.com", version, {
    credential: { secretId: "AKIDEXAMPLE0000000000000000000000000", secretKey },
    region: "ap-guangzhou",
    profile: { signMethod, httpProfile: { protocol: "http://", endpoint, reqMethod } },
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
    for (const method of ["POST", "GET"]) {
      for (const signing of ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"]) {
        const other = client(version, "SecretKeyExample0000000000000000", method, signing);
        assert.ok((await other.PublishMessage(message)).RequestId, `${method} ${signing}`);
        const unsigned = client(version, "wrong", method, signing);
        await refused(unsigned.PublishMessage(message), "AuthFailure.SignatureFailure");
      }
    }
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
