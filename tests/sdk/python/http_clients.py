"""requests and httpx: one client of each, which keeps its connections."""

import ssl

import httpx
import requests

from agent import serve

clients = {}


def client(library, ca):
    """requests takes the path of the authorities' file, httpx a context of the ssl module."""
    if library not in clients:
        if library == "requests":
            clients[library] = requests.Session()
            clients[library].verify = ca
        else:
            context = ssl.create_default_context(cafile=ca)
            clients[library] = httpx.Client(verify=context)
    return clients[library]


def perform(command):
    body = command.get("body")
    if body is not None:
        body = body.encode()
        if command.get("chunked"):
            # A body without a known length goes out in chunks.
            body = iter([body[:10], body[10:]])
    which = "data" if command["library"] == "requests" else "content"
    answer = client(command["library"], command["ca"]).request(
        command["method"], command["url"], headers=command.get("headers"), **{which: body}
    )
    return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.text}


serve(perform, lambda error: {"message": repr(error)})
