"""Who may ask the server, and what the page may load."""

from __future__ import annotations

import asyncio

import pytest

from medssm_monai.apps.viewer.guard import Guard


def ask(path="/", host="127.0.0.1:7860", kind="http", **headers):
    """Status, headers and body that a client of the guard gets."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Referrer-Policy", b"origin")]})
        await send({"type": "http.response.body", "body": b"the page"})

    async def send(message):
        sent.append(message)

    pairs = [(b"host", host.encode()), *((name.encode(), value.encode()) for name, value in headers.items())]
    scope = {"type": kind, "path": path, "headers": pairs}
    asyncio.run(Guard(app, ("127.0.0.1", "localhost", "::1"))(scope, None, send))
    return sent


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860"])
def test_the_page_is_handed_out_with_a_policy(host):
    start, body = ask(host=host)
    assert (start["status"], body["body"]) == (200, b"the page")
    headers = [(name.lower(), value) for name, value in start["headers"]]
    policy = dict(headers)[b"content-security-policy"]
    assert policy.startswith(b"default-src 'self'")
    assert b"http:" not in policy and b"https:" not in policy and b"*" not in policy
    assert dict(headers)[b"cache-control"] == b"no-store"
    assert [value for name, value in headers if name == b"referrer-policy"] == [b"no-referrer"]


def test_the_programs_of_the_page_may_be_kept_by_the_browser():
    assert b"cache-control" not in dict(ask("/assets/index.js")[0]["headers"])


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_another_name_is_refused(host):
    assert ask(host=host)[0]["status"] == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:7860", 200),
        ("http://127.0.0.1:8000", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_another_site_is_refused(origin, status):
    assert ask("/gradio_api/queue/join", origin=origin)[0]["status"] == status


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://example.org/x.png",
        "/gradio_api/file=HTTPS://example.org/x.png",
        "/gradio_api/proxy=https://x.hf.space/a",
        "/gradio_api/proxy%3Dhttps://x.hf.space/a",
        "/openapi.json",
    ],
)
def test_what_would_fetch_from_elsewhere_is_closed(path):
    assert ask(path)[0]["status"] == 403


def test_sockets_are_closed():
    assert ask(kind="websocket") == [{"type": "websocket.close", "code": 1008}]
