"""paho-mqtt against a started emulator: Entra tokens, client certificates of every kind, tokens of
another issuer, each good one and each bad one. Certificates and client resources are made here and
put into the emulator as a template would. Run by tests/azure/sdk.rs:
`mqtt_clients.py folder issuer.pem ready.json`."""

import base64
import datetime
import hashlib
import hmac
import ipaddress
import json
import os
import pathlib
import queue
import ssl
import sys
import time
import urllib.request
from urllib.parse import urlsplit

import jwt
import paho.mqtt.client as mqtt
from azure.identity import ManagedIdentityCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

FOLDER, ISSUER = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text()
READY = json.loads(pathlib.Path(sys.argv[3]).read_text())
HTTP = READY["http"]
CA = FOLDER / "ca.pem"
CA.write_bytes(urllib.request.urlopen(f"{HTTP}/_mqttstack/ca.pem").read())
OBJECT = "33333333-3333-3333-3333-333333333333"
HOST = "nsname.westus3-1.ts.eventgrid.azure.net"
NAMESPACE = "/subscriptions/0/resourceGroups/g/providers/Microsoft.EventGrid/namespaces/nsname"
PATIENCE = 30
NOT_AUTHORIZED = 0x87
UTC = datetime.timezone.utc


def put(kind, name, properties):
    body = json.dumps({"properties": properties}).encode()
    request = urllib.request.Request(f"{HTTP}{NAMESPACE}/{kind}/{name}", body, method="PUT")
    urllib.request.urlopen(request).read()


def last_reason():
    with urllib.request.urlopen(f"{HTTP}/_mqttstack/requests?vendor=azure&limit=1") as answer:
        return json.load(answer)["requests"][0]["reason"]


class Named(ssl.SSLContext):
    """Names Azure's host to the server, as if that name led to the emulator."""

    def wrap_socket(self, sock, *args, **options):
        options["server_hostname"] = HOST
        return super().wrap_socket(sock, *args, **options)


class Client:
    """A paho client, and what it was told."""

    def __init__(self, url, session, *, username=None, password=None, method=None, data=None, certificate=None, version=5, named=False):
        self.codes, self.grants, self.messages, self.acks = (queue.Queue() for _ in range(4))
        url = urlsplit(url)
        web, five = url.scheme in ("ws", "wss"), version == 5
        self.client = client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            session,
            protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
            transport="websockets" if web else "tcp",
            reconnect_on_failure=False,
        )
        if web:
            client.ws_set_options(path=url.path)
        if named:
            context = Named(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(CA)
            context.load_cert_chain(*certificate)
            client.tls_set_context(context)
        elif url.scheme in ("mqtts", "wss"):
            client.tls_set(str(CA), *(certificate or (None, None)))
        if username is not None:
            client.username_pw_set(username, password)
        client.on_connect = lambda _c, _u, flags, code, _p: self.codes.put(code.value)
        client.on_subscribe = lambda _c, _u, _m, codes, _p: self.grants.put(codes[0].value)
        client.on_message = lambda _c, _u, message: self.messages.put(message)
        client.on_publish = lambda _c, _u, _m, code, _p: self.acks.put(code.value)
        properties = None
        if five:
            properties = Properties(PacketTypes.CONNECT)
            if method is not None:
                properties.AuthenticationMethod = method
            if data is not None:
                properties.AuthenticationData = data.encode()
        # The certificate names localhost as well.
        client.connect("localhost" if url.scheme in ("mqtts", "wss") else url.hostname, url.port, properties=properties)
        client.loop_start()
        self.code = self.codes.get(timeout=PATIENCE)

    def echo(self, topic):
        """What it publishes comes back to it, once."""
        self.client.subscribe(topic, 1)
        assert self.grants.get(timeout=PATIENCE) == 1
        self.client.publish(topic, "hello", 1)
        assert self.acks.get(timeout=PATIENCE) == 0
        message = self.messages.get(timeout=PATIENCE)
        assert (message.topic, message.payload, message.qos) == (topic, b"hello", 1)
        return self

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()


def accepted(*args, **options):
    client = Client(*args, **options)
    assert client.code == 0, (client.code, last_reason())
    client.echo("a/b").leave()


def refused(reason, *args, code=NOT_AUTHORIZED, **options):
    client = Client(*args, **options)
    client.leave()
    assert client.code == code, (client.code, reason)
    assert reason in last_reason(), (last_reason(), reason)


def entra():
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = HTTP
    token = ManagedIdentityCredential().get_token("https://eventgrid.azure.net/.default").token
    for name in ("mqtt", "mqtts", "ws", "wss"):
        accepted(READY[name], "sample_client", method="OAUTH2-JWT", data=token)
    address = READY["mqtt"]
    refused("no Authentication Data", address, "s", method="OAUTH2-JWT")
    refused("three parts", address, "s", method="OAUTH2-JWT", data="garbage")
    belongs = "belongs into the Authentication Data of an MQTT 5 CONNECT with the method OAUTH2-JWT"
    for version in (4, 5):
        refused(belongs, address, "s", username="u", password=token, version=version)


class Authority:
    """A certificate authority."""

    def __init__(self, name):
        self.key = rsa.generate_private_key(65537, 2048)
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self.signed(self.name, self.key.public_key(), [basic])
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def signed(self, subject, key, extensions, days=(-1, 365)):
        now = datetime.datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        builder = builder.public_key(key).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + datetime.timedelta(days[0]))
        builder = builder.not_valid_after(now + datetime.timedelta(days[1]))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def leaf(self, file, common_name, *names, days=(-1, 365)):
        """Certificate and key, each in a file; and the certificate."""
        key = rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        alternatives = [x509.SubjectAlternativeName(names)] if names else []
        certificate = self.signed(subject, key.public_key(), alternatives, days)
        return written(file, certificate, key), certificate


def written(file, certificate, key):
    paths = FOLDER / f"{file}.pem", FOLDER / f"{file}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    paths[1].write_bytes(pem)
    return tuple(map(str, paths))


def register(name, scheme, **more):
    rules = {"validationScheme": scheme, **more}
    properties = {"authenticationName": name, "state": "Enabled", "clientCertificateAuthentication": rules}
    put("clients", name.replace("@", "-").replace(":", "-").replace(".", "-"), properties)


def certificates():
    authority, stranger = Authority("devices"), Authority("devices")
    put("caCertificates", "devices", {"encodedCertificate": authority.pem})
    address = READY["mqtts"]
    pair, _ = authority.leaf(
        "all", "by-subject", x509.DNSName("by.dns.example"), x509.UniformResourceIdentifier("urn:by-uri"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.7")), x509.RFC822Name("by@email.example"),
    )
    for kind, name in (
        ("Subject", "by-subject"), ("Dns", "by.dns.example"), ("Uri", "urn:by-uri"),
        ("Ip", "10.0.0.7"), ("Email", "by@email.example"),
    ):
        register(name, f"{kind}MatchesAuthenticationName")
        for version in (4, 5):
            accepted(address, name, username=name, certificate=pair, version=version)
    # A secure WebSocket asks for one under Azure's own name alone: a page has no way to choose it.
    accepted(READY["wss"], "by-subject", username="by-subject", certificate=pair, named=True)
    refused("showed no certificate", READY["wss"], "by-subject", username="by-subject", certificate=pair)
    # Without a user name, the first configured source that the certificate has names the client.
    accepted(address, "by@email.example", certificate=pair)
    dns_only, _ = authority.leaf("dns", "x", x509.DNSName("by.dns.example"))
    accepted(address, "by.dns.example", certificate=dns_only)
    # One that signed itself, by its thumbprint in either length.
    own = Authority("own")
    certificate = own.signed(own.name, own.key.public_key(), [])
    own_pair = written("own", certificate, own.key)
    for algorithm in (hashes.SHA1(), hashes.SHA256()):
        thumbprint = certificate.fingerprint(algorithm).hex().upper()
        register("by-thumbprint", "ThumbprintMatch", allowedThumbprints=[thumbprint])
        accepted(address, "by-thumbprint", username="by-thumbprint", certificate=own_pair)
    bad_certificates(address, authority, stranger, pair)


def bad_certificates(address, authority, stranger, pair):
    by_subject = {"username": "by-subject"}
    refused("showed no certificate", address, "by-subject", **by_subject)
    other_name, _ = authority.leaf("other", "somebody-else")
    refused("the certificate's Subject names are", address, "by-subject", certificate=other_name, **by_subject)
    foreign, _ = stranger.leaf("foreign", "by-subject")
    refused("no registered CA certificate signed it", address, "by-subject", certificate=foreign, **by_subject)
    expired, _ = authority.leaf("expired", "by-subject", days=(-9, -2))
    refused("certificate expired at", address, "by-subject", certificate=expired, **by_subject)
    early, _ = authority.leaf("early", "by-subject", days=(2, 9))
    refused("certificate is not valid before", address, "by-subject", certificate=early, **by_subject)
    refused("is not allowed", address, "by-thumbprint", username="by-thumbprint", certificate=pair)
    put("clients", "off", {"authenticationName": "off", "state": "Disabled", "clientCertificateAuthentication": {}})
    refused("is disabled", address, "off", username="off", certificate=pair)


def custom():
    public = serialization.load_pem_private_key(ISSUER.encode(), None).public_key()
    now = int(time.time())
    good = {"iss": "https://issuer.example", "sub": "sensor-1", "aud": [HOST], "nbf": now - 60, "exp": now + 600, "floor": 7}
    signed = lambda key=ISSUER, **changes: jwt.encode(
        {name: value for name, value in {**good, **changes}.items() if value is not None}, key, "RS256")
    address = READY["mqtt"]
    accepted(address, "s1", method="CUSTOM-JWT", data=signed())
    accepted(address, "s1", method="CUSTOM-JWT", data=signed(aud=f"https://{HOST}/"))
    another = rsa.generate_private_key(65537, 2048)
    plain = serialization.NoEncryption()
    another = another.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    unsigned = ".".join(part(json.dumps(one).encode()) for one in ({"alg": "HS256", "typ": "JWT"}, good))
    confused = f"{unsigned}.{part(hmac.new(pem, unsigned.encode(), hashlib.sha256).digest())}"
    for token, reason in (
        (signed(exp=now - 1), "it expired at"),
        (signed(nbf=now + 600), "it is not valid before"),
        (signed(exp=None), "the claim 'exp' is missing"),
        (signed(iss="https://other.example"), "invalid issuer"),
        (signed(aud="elsewhere"), "the audience is"),
        (signed(sub=None), "the claim 'sub' is missing"),
        (signed(key=another), "matches none of the issuerCertificates"),
        (jwt.encode(good, None, "none"), 'the algorithm is "none"'),
        (confused, 'the algorithm is "HS256"'),
        ("a.b", "three parts"),
    ):
        refused(reason, address, "s1", method="CUSTOM-JWT", data=token)
    refused("the issuer is", address, "s1", method="OAUTH2-JWT", data=signed())


entra()
certificates()
custom()
print("done")
