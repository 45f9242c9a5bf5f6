"""Hostile HTTP: paths, headers and bodies that a parser, a router or a file system may trip over."""

import random
from collections.abc import Sequence

PATHS = (
    "/", "//", "/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/v1/traces/..",
    "/v1//traces", "/v1/traces/", "/V1/TRACES", "/v1/traces%00", "/v1/traces?x=1", "/v1/traces#x", "/%", "/%zz",
    "/%ff%fe", "/api/v1/query/", "/api/v1/../v1/query?query=1", "/api/v1/query?query=%", "/api/v1/query?query=%ff",
    "/api/v1/query?query=1&query=2", "/api/v1/label//values", "/api/v1/label/%2e%2e%2f/values",
    "/api/v1/admin/tsdb/delete_series", "/api/v1/write", "/metrics", "/api/traces/..%2f..%2f",
    "/api/search?q=%7B%7D&q=%7B", "/api/search/tag/%2F/values", "/-/ready", "/-/quit", "/-/reload", "/ready",
    "/\\..\\..", "/" + "a" * 70_000, "/" + "%41" * 20_000, "/?" + "a=b&" * 10_000, "*", "http://127.0.0.1/-/ready",
    "http://evil.example/-/ready", "evil.example:443", "/\t", "/\x7f", "/ä", "/api/v1/query?query=1 HTTP/1.1\r\nX: y",
)  # fmt: skip
METHODS = (
    "GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "BREW",
    "G\0T", "", "X" * 5000, "PRI",
)  # fmt: skip
POSTED = ("/v1/traces", "/v1/metrics", "/v1/logs", "/api/v1/query", "/api/v1/series", "/api/v1/query_range")
ASKED = (
    "/-/ready", "/ready", "/-/status", "/api/v1/query?query=1", "/api/search?q=%7B%7D", "/api/v1/labels", "/api/echo",
    "/api/traces/1", "/api/v2/search/tags", "/api/status/buildinfo", "/api/v1/status/buildinfo",
)  # fmt: skip
FORMS = ("application/x-protobuf", "application/json", "application/x-www-form-urlencoded")
VERSIONS = ("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "HTTX/1.1", "", "HTTP/1.1.1")
HEADERS = (
    "Host: 127.0.0.1", "Host: localhost:4318", "Host: evil.example", "Host:", "Host: 127.0.0.1\r\nHost: evil.example",
    "Host: [::1]", "Host: 127.0.0.1:99999", "Host: 127.0.0.1@evil.example", "Host: \xff", "host : 127.0.0.1",
    "Content-Type: application/x-protobuf", "Content-Type: application/json", "Content-Type: text/plain",
    "Content-Type: \0", "Content-Type: application/json; charset=utf-16",
    "Content-Type: application/x-www-form-urlencoded", "Content-Type: " + "a" * 9000, "Content-Encoding: gzip",
    "Content-Encoding: br", "Content-Encoding: gzip, gzip", "Content-Encoding: identity", "Content-Length: 0",
    "Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999999999999", "Content-Length: x",
    "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Expect: 100-continue", "Connection: close",
    "Connection: upgrade\r\nUpgrade: websocket", "Upgrade: h2c\r\nHTTP2-Settings: x", "Authorization: Bearer x",
    "Authorization: " + "B" * 20_000, "Origin: http://evil.example", "Accept: " + "*/*," * 5000,
    "Accept: application/protobuf", "Range: bytes=0-1", "X-Forwarded-Host: evil.example", "X: y\r\n folded", "NoColon",
    ": empty", "Cookie: " + "a=b; " * 20_000, "Grpc-Timeout: 1n", "\0: \0",
)  # fmt: skip
BODIES = (
    b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"zz\r\nhello\r\n", b"-1\r\n", b"ffffffffffffffff\r\nx",
    b"0\r\n\r\n", b"5;" + b"e" * 5000 + b"\r\nhello\r\n0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n", b"\x1f\x8b\x08\x00",
    b"query=1", b"query=%ff&x", b"query=" + b"1" * 100_000, b"{}", b"\0" * 1000,
    b"GET /-/ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"a=b&" * 5000,
)  # fmt: skip
RAW = (
    b"", b"\r\n" * 100, b"\0" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, b"GET",
    b"GET / HTTP/1.1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 50, b"A" * 200_000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000,
    b"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\n",
)  # fmt: skip


def request(chance: random.Random) -> bytes:
    """Return the bytes of one request, or of what passes for one."""
    if chance.random() < 0.05:
        return chance.choice(RAW)
    # Mostly one odd thing at a time: two of them are refused for the first one.
    odd = chance.choice(("method", "path", "version", "headers", "headers", "separator", "body", "all"))

    def pick(what: str, usual: str, choices: Sequence[str]) -> str:
        return chance.choice(choices) if odd in (what, "all") else usual

    posts = chance.random() < 0.5
    path = pick("path", chance.choice(POSTED if posts else ASKED), PATHS)
    lines = [f"{pick('method', 'POST' if posts else 'GET', METHODS)} {path} {pick('version', 'HTTP/1.1', VERSIONS)}"]
    if odd != "all" or chance.random() < 0.8:
        lines.append("Host: 127.0.0.1")
    body = chance.choice(BODIES) if posts or odd in ("body", "all") else b""
    if odd == "headers":
        lines += chance.sample(HEADERS, chance.randint(1, 3))
    elif odd == "all":
        lines += chance.sample(HEADERS, chance.randint(0, 4))
    elif body:
        lines += [f"Content-Length: {len(body)}", f"Content-Type: {chance.choice(FORMS)}"]
    head = pick("separator", "\r\n", ("\n", "\r", "\r\n\t", "\n\r")).join(lines)
    return head.encode("latin-1", "replace") + b"\r\n\r\n" + body
