"""The vendor's Python SDKs, plain HTTP clients and paho against a started emulator: every
credential class, namespace topics, and the whole loop from a token to a routed event. Run by
tests/azure/sdk.rs: `azure_sdk.py http://host:port https://localhost:port host:port folder`."""

import asyncio
import datetime
import json
import os
import pathlib
import queue
import subprocess
import sys
import urllib.request

HTTP, HTTPS, MQTT, FOLDER = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
CA = str(FOLDER / "ca.pem")
pathlib.Path(CA).write_bytes(urllib.request.urlopen(f"{HTTP}/_mqttstack/ca.pem").read())
# requests reads one, aiohttp and curl the other.
os.environ.update(REQUESTS_CA_BUNDLE=CA, SSL_CERT_FILE=CA)

import azure.eventgrid.aio as eventgrid_aio  # noqa: E402
import azure.identity.aio as aio  # noqa: E402
import httpx  # noqa: E402
import jwt  # noqa: E402
import paho.mqtt.client as mqtt  # noqa: E402
import requests  # noqa: E402
from azure.core.credentials import AzureKeyCredential  # noqa: E402
from azure.core.exceptions import ClientAuthenticationError  # noqa: E402
from azure.core.messaging import CloudEvent  # noqa: E402
from azure.eventgrid import EventGridConsumerClient, EventGridPublisherClient  # noqa: E402
from azure.identity import (  # noqa: E402
    CertificateCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

TENANT, CLIENT = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
OBJECT = "33333333-3333-3333-3333-333333333333"
SCOPE = "https://eventgrid.azure.net/.default"
KEY = AzureKeyCredential("dGVzdGtleQ==")
# Seconds that something which must happen may take on a busy machine.
PATIENCE = 120


def refused(kind, part, call):
    try:
        call()
    except kind as error:
        assert part in str(error), error
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


class Environment:
    """Environment variables for a while."""

    def __init__(self, **variables):
        self.variables = variables

    def __enter__(self):
        os.environ.update(self.variables)

    def __exit__(self, *_):
        for name in self.variables:
            del os.environ[name]


def verified(token):
    """The token's claims, checked with the published keys by another library."""
    keys = json.load(urllib.request.urlopen(f"{HTTP}/{TENANT}/discovery/v2.0/keys"))
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key.key, algorithms=["RS256"], audience="https://eventgrid.azure.net")
    assert claims["oid"] == OBJECT, claims
    return token


def certificate():
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(datetime.datetime(2020, 1, 1))
    signed = builder.not_valid_after(datetime.datetime(2060, 1, 1)).sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file = FOLDER / "app.pem"
    file.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    return str(file)


def credentials():
    get = lambda credential: verified(credential.get_token(SCOPE).token)
    with Environment(AZURE_POD_IDENTITY_AUTHORITY_HOST=HTTP):
        get(ManagedIdentityCredential())
        get(ManagedIdentityCredential(client_id=CLIENT))
        get(DefaultAzureCredential())
        refused(CredentialUnavailableError, "Identity not found",
                lambda: ManagedIdentityCredential(client_id="nobody").get_token(SCOPE))
    for path in ("/msi/token", "/metadata/identity/oauth2/token"):
        with Environment(IDENTITY_ENDPOINT=HTTP + path, IDENTITY_HEADER="h"):
            get(ManagedIdentityCredential())
        with Environment(MSI_ENDPOINT=HTTP + path):
            get(ManagedIdentityCredential())
        with Environment(MSI_ENDPOINT=HTTP + path, MSI_SECRET="s"):
            get(ManagedIdentityCredential())
    custom = {"authority": HTTPS, "disable_instance_discovery": True}
    get(ClientSecretCredential(TENANT, CLIENT, "testsecret", **custom))
    for tenant in ("adfs", "dstsv2"):
        get(ClientSecretCredential(tenant, CLIENT, "testsecret", authority=HTTPS))
    get(CertificateCredential(TENANT, CLIENT, certificate(), **custom))
    refused(ClientAuthenticationError, "AADSTS7000215",
            lambda: ClientSecretCredential(TENANT, CLIENT, "wrong", **custom).get_token(SCOPE))
    get(ClientAssertionCredential(TENANT, CLIENT, lambda: "an.asser.tion", **custom))
    with Environment(**federated()):
        get(WorkloadIdentityCredential())
        get(ManagedIdentityCredential())
        get(DefaultAzureCredential())
    with Environment(AZURE_CLIENT_SECRET="testsecret", **PLACE):
        get(EnvironmentCredential(disable_instance_discovery=True))
        get(DefaultAzureCredential(disable_instance_discovery=True))
    asyncio.run(asynchronous())


PLACE = {"AZURE_AUTHORITY_HOST": HTTPS, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT}


def federated():
    """The variables of workload identity, and its token's file."""
    file = FOLDER / "federated"
    file.write_text("fed.jwt.tok")
    return {"AZURE_FEDERATED_TOKEN_FILE": str(file), **PLACE}


async def asynchronous():
    async def get(credential):
        async with credential as one:
            verified((await one.get_token(SCOPE)).token)

    await get(aio.ClientSecretCredential(TENANT, CLIENT, "testsecret", authority=HTTPS))
    await get(aio.ClientAssertionCredential(TENANT, CLIENT, lambda: "an.asser.tion", authority=HTTPS))
    await get(aio.CertificateCredential(TENANT, CLIENT, certificate(), authority=HTTPS))
    with Environment(AZURE_POD_IDENTITY_AUTHORITY_HOST=HTTP):
        await get(aio.ManagedIdentityCredential())
        await get(aio.ManagedIdentityCredential(client_id=CLIENT))
        await get(aio.DefaultAzureCredential())
    place = HTTP + "/msi/token"
    for variables in (
        {"IDENTITY_ENDPOINT": place, "IDENTITY_HEADER": "h"},
        {"MSI_ENDPOINT": place},
        {"MSI_ENDPOINT": place, "MSI_SECRET": "s"},
    ):
        with Environment(**variables):
            await get(aio.ManagedIdentityCredential())
    with Environment(**federated()):
        await get(aio.WorkloadIdentityCredential())
        await get(aio.DefaultAzureCredential())
    with Environment(AZURE_CLIENT_SECRET="testsecret", **PLACE):
        await get(aio.EnvironmentCredential())
        await get(aio.DefaultAzureCredential())


def tokens_of(events):
    return [event.broker_properties.lock_token for event in events]


def topics():
    publisher = EventGridPublisherClient(HTTP, KEY, namespace_topic="t1")
    consumer = EventGridConsumerClient(HTTP, KEY, namespace_topic="t1", subscription="s1")
    publisher.send(CloudEvent(source="/s", type="t", data={"k": "v"}))
    publisher.send([CloudEvent(source="/s", type="t", data=b"bytes"), CloudEvent(source="/s", type="t", data="text")])
    events = consumer.receive(max_events=10, max_wait_time=10)
    assert [event.event.data for event in events] == [{"k": "v"}, b"bytes", "text"], events
    first, second, third = tokens_of(events)
    assert consumer.renew_locks(lock_tokens=[first]).succeeded_lock_tokens == [first]
    assert consumer.acknowledge(lock_tokens=[first]).succeeded_lock_tokens == [first]
    assert consumer.release(lock_tokens=[second]).succeeded_lock_tokens == [second]
    assert consumer.reject(lock_tokens=[third]).succeeded_lock_tokens == [third]
    failed = consumer.acknowledge(lock_tokens=["L1"]).failed_lock_tokens[0]
    assert (failed.lock_token, failed.error.code) == ("L1", "BadToken"), failed
    again = consumer.receive(max_events=10, max_wait_time=10)
    assert [(e.event.data, e.broker_properties.delivery_count) for e in again] == [(b"bytes", 2)], again
    refused(ClientAuthenticationError, "namespace's key",
            lambda: EventGridPublisherClient(HTTP, AzureKeyCredential("bad"), namespace_topic="t1").send(
                CloudEvent(source="/s", type="t")))
    publisher.send(CloudEvent(source="/s", type="t", data="later"))
    (later,) = tokens_of(consumer.receive(max_events=1, max_wait_time=10))
    assert consumer.release(lock_tokens=[later], release_delay=10).succeeded_lock_tokens == [later]
    credential = ClientSecretCredential(TENANT, CLIENT, "testsecret", authority=HTTPS, disable_instance_discovery=True)
    EventGridPublisherClient(HTTPS, credential, namespace_topic="t2").send(CloudEvent(source="/s", type="t"))
    consumer = EventGridConsumerClient(HTTPS, credential, namespace_topic="t2", subscription="s1")
    assert len(consumer.receive(max_events=1, max_wait_time=10)) == 1
    asyncio.run(topics_asynchronously())


async def topics_asynchronously():
    async with eventgrid_aio.EventGridPublisherClient(HTTP, KEY, namespace_topic="t3") as publisher:
        await publisher.send([CloudEvent(source="/s", type="t", data=n) for n in range(4)])
    async with eventgrid_aio.EventGridConsumerClient(HTTP, KEY, namespace_topic="t3", subscription="s1") as consumer:
        first, second, third, fourth = tokens_of(await consumer.receive(max_events=10, max_wait_time=10))
        assert (await consumer.renew_locks(lock_tokens=[first])).succeeded_lock_tokens == [first]
        assert (await consumer.acknowledge(lock_tokens=[first])).succeeded_lock_tokens == [first]
        assert (await consumer.release(lock_tokens=[second])).succeeded_lock_tokens == [second]
        assert (await consumer.release(lock_tokens=[third], release_delay=3600)).succeeded_lock_tokens == [third]
        assert (await consumer.reject(lock_tokens=[fourth])).succeeded_lock_tokens == [fourth]
        again = await consumer.receive(max_events=10, max_wait_time=10)
        assert [(one.event.data, one.broker_properties.delivery_count) for one in again] == [(1, 2)], again


async def posted(url, headers, body):
    async with httpx.AsyncClient(verify=CA) as client:
        return (await client.post(url, headers=headers, content=body)).status_code


def whole_loop():
    root = pathlib.Path(__file__).parents[3]
    example = json.loads((root / "fixtures/azure/vectors/azure-http-publish.json").read_text())["documented_example"]
    received, connected, subscribed = queue.Queue(), queue.Queue(), queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "subscriber", protocol=mqtt.MQTTv5)
    client.on_connect = lambda *_: connected.put(True)
    client.on_subscribe = lambda *_: subscribed.put(True)
    client.on_message = lambda _client, _data, message: received.put(message)
    host, port = MQTT.split(":")
    client.connect(host, int(port))
    client.loop_start()
    connected.get(timeout=PATIENCE)
    client.subscribe("devices/#", 1)
    subscribed.get(timeout=PATIENCE)
    with Environment(AZURE_POD_IDENTITY_AUTHORITY_HOST=HTTP):
        token = DefaultAzureCredential().get_token(SCOPE).token
    headers = {**example["headers"], "Authorization": f"Bearer {token}"}
    http, https, body = HTTP + example["target"], HTTPS + example["target"], example["body"]
    lines = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", CA, "-d", body, *lines, https]
    for publish in (
        lambda: requests.post(http, headers=headers, data=body).status_code,
        lambda: httpx.post(https, headers=headers, content=body, verify=CA).status_code,
        lambda: asyncio.run(posted(https, headers, body)),
        lambda: int(subprocess.check_output(curl)),
    ):
        assert publish() == 202
        message = received.get(timeout=PATIENCE)
        expected = example["expect_publish"]
        properties = message.properties
        assert (message.topic, message.payload.decode(), message.qos) == (expected["topic"], body, 1)
        assert properties.ResponseTopic == expected["response_topic"]
        assert properties.CorrelationData.hex() == expected["correlation_data_hex"]
        assert properties.ContentType == expected["content_type"]
        assert [list(pair) for pair in properties.UserProperty] == expected["user_properties"]
    client.publish("devices/own", "over MQTT", 1).wait_for_publish(PATIENCE)
    consumer = EventGridConsumerClient(HTTP, KEY, namespace_topic="events", subscription="s1")
    events = []
    while len(events) < 5:
        events += consumer.receive(max_events=10, max_wait_time=10)
    assert [event.event.subject for event in events] == [example["expect_publish"]["topic"]] * 4 + ["devices/own"]
    assert [event.event.data for event in events] == [body.encode()] * 4 + [b"over MQTT"]
    assert consumer.acknowledge(lock_tokens=tokens_of(events)).failed_lock_tokens == []
    client.disconnect()
    client.loop_stop()


credentials()
topics()
whole_loop()
print("done")
