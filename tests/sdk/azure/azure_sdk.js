// The vendor's Node SDKs against a started emulator. Run by tests/azure/sdk.rs:
// `azure_sdk.js http://host:port https://localhost:port folder`, with NODE_EXTRA_CA_CERTS.

"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const {
  ClientAssertionCredential,
  ClientSecretCredential,
  DefaultAzureCredential,
  EnvironmentCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} = require("@azure/identity");
const { EventGridReceiverClient, EventGridSenderClient } = require("@azure/eventgrid-namespaces");
const { AzureKeyCredential } = require("@azure/core-auth");

const [http, https, folder] = process.argv.slice(2);
const tenant = "11111111-1111-1111-1111-111111111111";
const client = "22222222-2222-2222-2222-222222222222";
const custom = { authorityHost: https, disableInstanceDiscovery: true };

const check = async (credential) => {
  const { token } = await credential.getToken("https://eventgrid.azure.net/.default");
  const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  assert.equal(claims.oid, "33333333-3333-3333-3333-333333333333");
};

const within = async (variables, run) => {
  Object.assign(process.env, variables);
  await run();
  for (const name of Object.keys(variables)) delete process.env[name];
};

const main = async () => {
  await within({ AZURE_POD_IDENTITY_AUTHORITY_HOST: http }, async () => {
    await check(new ManagedIdentityCredential());
    await check(new DefaultAzureCredential());
    await check(new ManagedIdentityCredential({ clientId: client }));
  });
  const place = `${http}/msi/token`;
  for (const variables of [
    { IDENTITY_ENDPOINT: place, IDENTITY_HEADER: "h" },
    { MSI_ENDPOINT: place },
    { MSI_ENDPOINT: place, MSI_SECRET: "s" },
  ]) {
    await within(variables, () => check(new ManagedIdentityCredential()));
  }
  const secret = new ClientSecretCredential(tenant, client, "testsecret", custom);
  await check(secret);
  const tokenFilePath = path.join(folder, "federated");
  fs.writeFileSync(tokenFilePath, "fed.jwt.tok");
  await check(new WorkloadIdentityCredential({ tenantId: tenant, clientId: client, tokenFilePath, ...custom }));
  await check(new ClientAssertionCredential(tenant, client, async () => "an.asser.tion", custom));
  const named = { AZURE_AUTHORITY_HOST: https, AZURE_TENANT_ID: tenant, AZURE_CLIENT_ID: client };
  await within({ ...named, AZURE_FEDERATED_TOKEN_FILE: tokenFilePath }, async () => {
    await check(new ManagedIdentityCredential());
  });
  await within({ ...named, AZURE_CLIENT_SECRET: "testsecret" }, async () => {
    await check(new EnvironmentCredential(custom));
  });
  await assert.rejects(check(new ClientSecretCredential(tenant, client, "wrong", custom)), /AADSTS7000215/);

  const key = new AzureKeyCredential("dGVzdGtleQ==");
  const plain = { allowInsecureConnection: true };
  for (const [url, credential, options, topic] of [
    [http, key, plain, "node1"],
    [https, secret, {}, "node2"],
  ]) {
    const sender = new EventGridSenderClient(url, credential, topic, options);
    const receiver = new EventGridReceiverClient(url, credential, topic, "s1", options);
    const event = (data) => ({ source: "/s", type: "t", data });
    await sender.sendEvents(event({ a: 1 }));
    await sender.sendEvents([event("x"), event("y")]);
    const { details } = await receiver.receiveEvents({ maxEvents: 10, maxWaitTime: 10 });
    assert.deepEqual(details.map((one) => one.event.data), [{ a: 1 }, "x", "y"]);
    const [first, second, third] = details.map((one) => one.brokerProperties.lockToken);
    assert.deepEqual((await receiver.renewEventLocks([first])).succeededLockTokens, [first]);
    assert.deepEqual((await receiver.acknowledgeEvents([first])).succeededLockTokens, [first]);
    assert.deepEqual((await receiver.releaseEvents([second])).succeededLockTokens, [second]);
    assert.deepEqual((await receiver.rejectEvents([third])).succeededLockTokens, [third]);
    await sender.sendEvents(event("later"));
    const later = (await receiver.receiveEvents({ maxEvents: 10, maxWaitTime: 10 })).details;
    const delayed = later.filter((one) => one.event.data === "later").map((one) => one.brokerProperties.lockToken);
    const rest = later.filter((one) => one.event.data !== "later").map((one) => one.brokerProperties.lockToken);
    const release = await receiver.releaseEvents(delayed, { releaseDelay: "600" });
    assert.deepEqual(release.succeededLockTokens, delayed);
    await receiver.releaseEvents(rest);
    const again = await receiver.receiveEvents({ maxEvents: 10, maxWaitTime: 10 });
    assert.deepEqual(again.details.map((one) => [one.event.data, one.brokerProperties.deliveryCount]), [["x", 3]]);
  }
  const { token } = await secret.getToken("https://eventgrid.azure.net/.default");
  const published = await fetch(`${https}/mqtt/messages?topic=node%2F1&qos=0&api-version=2025-02-15-preview`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "text/plain", "mqtt-message-expiry": "60" },
    body: "from Node",
  });
  assert.equal(published.status, 202);
  const bad = new EventGridSenderClient(http, new AzureKeyCredential("bad"), "node1", plain);
  await assert.rejects(bad.sendEvents({ source: "/s", type: "t" }), /not the namespace's key/);
  console.log("done");
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
