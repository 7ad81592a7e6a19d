"""Who may ask: tokens, origins, sizes, and the line that each request leaves."""

from __future__ import annotations

import asyncio
import json

import pytest

from medssm_monai.apps.label.access import Gate, Tokens, foreign_origin
from medssm_monai.apps.label.audit import Audit, asking_user, audit_log, note
from medssm_monai.apps.label.upload_limit import UploadLimit

SECRET = "a secret of some length"


def ask(app, method="GET", path="/info/", headers=None, body=(b"",), query=b""):
    """Status, body and headers of the answer of an ASGI application."""
    sent, pieces = [], [*body]

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "scheme": "http", "client": ("10.0.0.1", 5)}
    pairs = headers if isinstance(headers, list) else list((headers or {}).items())
    scope |= {"headers": [(k.lower().encode(), v.encode()) for k, v in pairs], "query_string": query}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:]), dict(sent[0]["headers"])


async def answers(scope, receive, send):
    """Reads its request, and answers with who has asked."""
    size, more = 0, True
    while more:
        part = await receive()
        size, more = size + len(part["body"]), part["more_body"]
    note(model="m")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{asking_user()} {size}".encode()})


def test_the_secret_and_tokens_signed_with_it_let_in():
    tokens = Tokens(SECRET)
    assert tokens.user(f"Bearer {SECRET}") == tokens.user(f"bearer  {SECRET} ") == "token"
    for name in ("anna", "Dr. Größe", "", "a.b.c", "x" * 64):
        assert tokens.user(f"bearer {tokens.issue(name, SECRET)}") == name
    assert tokens.issue("anna", "guess") is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", SECRET, f"Basic {SECRET}", "Bearer a.b", "Bearer ö", "Bearer ."]
)
def test_anything_else_does_not(header):
    assert Tokens(SECRET).user(header) is None


def test_a_signed_token_is_for_its_user_and_its_server():
    token = Tokens(SECRET).issue("anna", SECRET)
    name, _, signature = token.partition(".")
    other = Tokens(SECRET).issue("root", SECRET).partition(".")[0]
    assert Tokens(SECRET).user(f"Bearer {other}.{signature}") is None
    assert Tokens(SECRET).user(f"Bearer {name}.{signature[:-1]}") is None
    assert Tokens("another secret, other server").user(f"Bearer {token}") is None
    assert SECRET not in token


@pytest.mark.parametrize(
    ("headers", "allowed", "foreign"),
    [
        ({"host": "h:8000"}, (), False),
        ({"host": "h:8000", "origin": "http://h:8000"}, (), False),
        ({"host": "h:8000", "origin": "https://h:8000"}, (), False),  # behind a proxy with TLS
        ({"host": "h:8000", "origin": "http://h:9000"}, (), True),
        ({"host": "h", "origin": "http://h.evil"}, (), True),
        ({"host": "h", "origin": "null"}, (), True),
        ({"host": "h", "origin": "http://[::1"}, (), True),  # no address
        ({"host": "h", "origin": "http://a:b@h"}, (), True),
        ({"host": "h", "origin": "http://viewer"}, ("http://viewer",), False),
        ({"host": "h", "origin": "http://viewer.evil"}, ("http://viewer",), True),
        ({"host": "h", "sec-fetch-site": "cross-site"}, (), True),
        ({"host": "h", "sec-fetch-site": "same-origin"}, (), False),
    ],
)
def test_other_origins(headers, allowed, foreign):
    assert (foreign_origin(headers, "http", allowed) is not None) is foreign


def test_the_gate():
    gate = Gate(answers, Tokens(SECRET))
    assert ask(gate)[0] == 401
    assert ask(gate)[2][b"www-authenticate"] == b"Bearer"
    assert ask(gate, headers={"Authorization": f"Bearer {SECRET}"})[0] == 200
    assert ask(gate, headers={"Authorization": f"Bearer {SECRET}", "Origin": "http://evil"})[0] == 403
    assert ask(gate, "POST", "/auth/token")[0] == 200
    for method, path in (
        ("PUT", "/auth/token"),
        ("GET", "/auth/token/valid"),
        ("GET", "//auth/"),
        ("GET", "/auth/../info/"),
    ):
        assert ask(gate, method, path)[0] == 401
    assert ask(Gate(answers, None))[0] == 200
    assert ask(Gate(answers, None), headers={"Origin": "http://evil"})[0] == 403


@pytest.mark.parametrize("name", ["Host", "Origin", "Authorization", "Sec-Fetch-Site"])
def test_a_header_of_the_gate_that_is_sent_twice_is_not_chosen_from(name):
    own = {"Host": "h", "Origin": "http://h", "Authorization": f"Bearer {SECRET}", "Sec-Fetch-Site": "same-origin"}
    gate = Gate(answers, Tokens(SECRET))
    assert ask(gate, headers=list(own.items()))[0] == 200
    for twice in ([*own.items(), (name, own[name])], [(name, "evil"), *own.items()]):
        assert ask(gate, headers=twice)[0] == 400


FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (FORM, (b"x" * 100,), 200),
        (FORM, (b"x" * 60, b"x" * 41), 413),
        ({**FORM, "content-length": "101"}, (b"",), 413),
        ({**FORM, "content-length": "1" * 5000}, (b"",), 413),
        ({**FORM, "content-length": "-1"}, (b"",), 413),
        ({"content-type": "application/json"}, (b"x" * 11,), 413),
        ({}, (b"x" * 11,), 413),
        ({}, (b"x" * 10,), 200),
    ],
)
def test_bodies_are_limited(headers, body, status):
    assert ask(UploadLimit(answers, 100, 10), "PUT", headers=headers, body=body)[0] == status


@pytest.mark.parametrize("path", ["/auth/token", "/auth/", "/auth"])
def test_who_has_no_token_yet_sends_no_files(path):
    assert ask(UploadLimit(answers, 100, 10), "POST", path, headers=FORM, body=(b"x" * 11,))[0] == 413
    assert ask(UploadLimit(answers, 100, 10), "POST", path, headers=FORM, body=(b"x" * 10,))[0] == 200


def test_an_app_that_answers_the_broken_body_itself_does_not_hide_the_limit():
    async def catches(scope, receive, send):
        try:
            await answers(scope, receive, send)
        except Exception:
            await send({"type": "http.response.start", "status": 400, "headers": []})
            await send({"type": "http.response.body", "body": b"parsing failed"})

    assert ask(UploadLimit(catches, 100, 10), body=(b"x" * 11,))[0] == 413


def test_a_request_is_one_line(tmp_path):
    log = audit_log(tmp_path / "audit.log")
    audit = Audit(Gate(answers, Tokens(SECRET)), log)
    token = Tokens(SECRET).issue("anna\nroot", SECRET)
    ask(audit, "POST", "/infer/m", {"Authorization": f"Bearer {token}"}, query=b"image=a%0Ab&x=1")
    ask(audit, headers={"Authorization": "Bearer guess"}, path="/x" * 1000)
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    first = {"client": "10.0.0.1", "user": "anna\nroot", "method": "POST", "path": "/infer/m", "status": 200}
    assert (first | {"image": "a\nb", "model": "m"}).items() <= lines[0].items()
    assert (lines[1]["status"], lines[1]["user"], len(lines[1]["path"])) == (401, "anyone", 200)
    assert len(lines) == 2
    assert SECRET not in (tmp_path / "audit.log").read_text()


def test_a_request_that_fails_is_a_line_too(tmp_path):
    async def fails(scope, receive, send):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        ask(Audit(fails, audit_log(tmp_path / "audit.log")))
    assert json.loads((tmp_path / "audit.log").read_text())["status"] == 500
