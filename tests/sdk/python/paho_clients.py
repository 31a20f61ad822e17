"""paho-mqtt: any number of clients by name, over TCP, TLS, WebSocket and secure WebSocket."""

import base64
import queue
import socket
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent import serve, tell

PATIENCE = 60


class Peer:
    """One client. What the network thread sees of acknowledgements waits in `acks`."""

    def __init__(self, name, options):
        url = urlsplit(options["url"])
        web = url.scheme in ("ws", "wss")
        five = options["version"] == mqtt.MQTTv5
        clean = {} if five else {"clean_session": options.get("clean", True)}
        self.name = name
        self.acks = queue.Queue()
        self.client = client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=options.get("id", name),
            protocol=options["version"],
            transport="websockets" if web else "tcp",
            reconnect_on_failure=False,
            **clean,
        )
        if web:
            client.ws_set_options(path=url.path)
        if url.scheme in ("mqtts", "wss"):
            client.tls_set(ca_certs=options["ca"])
        if "will" in options:
            will = options["will"]
            client.will_set(will["topic"], will["payload"], will["qos"], will["retain"])
        client.on_connect = self.connected
        client.on_subscribe = lambda _c, _u, _mid, codes, _p: self.acks.put([c.value for c in codes])
        client.on_publish = lambda _c, _u, _mid, code, _p: self.acks.put(code.value)
        client.on_message = self.arrived
        client.on_disconnect = lambda *_: tell(ended={"client": self.name})
        start = {}
        if five:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = options.get("session_expiry", 0)
            start = {"clean_start": options.get("clean", True), "properties": properties}
        client.connect(url.hostname, url.port, **start)
        client.loop_start()

    def connected(self, _client, _userdata, flags, code, _properties):
        self.acks.put({"code": code.value, "session_present": bool(flags.session_present)})

    def arrived(self, _client, _userdata, message):
        properties = getattr(message, "properties", None)
        tell(
            message={
                "client": self.name,
                "topic": message.topic,
                "payload": base64.b64encode(message.payload).decode(),
                "qos": message.qos,
                "retain": bool(message.retain),
                "user_properties": getattr(properties, "UserProperty", []) if properties else [],
            }
        )

    def ack(self):
        return self.acks.get(timeout=PATIENCE)


peers = {}


def perform(command):
    name, action = command["client"], command["do"]
    if action == "connect":
        peers[name] = Peer(name, command)
        return peers[name].ack()
    peer = peers[name]
    if action == "subscribe":
        peer.client.subscribe(command["filter"], command["qos"])
        return peer.ack()
    if action == "publish":
        properties = None
        if "user_properties" in command:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [tuple(pair) for pair in command["user_properties"]]
        payload = base64.b64decode(command["payload"])
        peer.client.publish(
            command["topic"], payload, command["qos"], command["retain"], properties=properties
        )
        return peer.ack()
    if action == "disconnect":
        return peer.client.disconnect().value
    if action == "vanish":
        peer.client.socket().shutdown(socket.SHUT_RDWR)
        return None
    raise ValueError(action)


serve(perform, lambda error: {"message": repr(error)})
