"""requests and httpx: one client of each, which keeps its connections."""

import ssl

import httpx
import requests

from agent import serve

clients = {}


def ask_requests(ca, method, url, headers, body):
    session = clients.setdefault("requests", requests.Session())
    return session.request(method, url, headers=headers, data=body, verify=ca)


def ask_httpx(ca, method, url, headers, body):
    if "httpx" not in clients:
        clients["httpx"] = httpx.Client(verify=ssl.create_default_context(cafile=ca))
    return clients["httpx"].request(method, url, headers=headers, content=body)


def perform(command):
    body = command.get("body")
    if body is not None:
        body = body.encode()
        if command.get("chunked"):
            # A body without a known length goes out in chunks.
            body = iter([body[:10], body[10:]])
    ask = {"requests": ask_requests, "httpx": ask_httpx}[command["library"]]
    answer = ask(command["ca"], command["method"], command["url"], command.get("headers"), body)
    return {"status": answer.status_code, "headers": dict(answer.headers), "body": answer.text}


serve(perform, lambda error: {"message": repr(error)})
