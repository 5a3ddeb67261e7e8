"""The HTTP store over a bad network, behind strange answers, and where tokens must not go."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import json
import os
import socket
import socketserver
import ssl
import threading
import time
from pathlib import Path

import pytest

import mlsdk
from mlsdk.errors import (
    AccessError,
    AmbiguousError,
    ConflictError,
    DigestError,
    NewerFormatError,
    NotFoundError,
    QueryError,
    StoreError,
    UnavailableError,
)
from mlsdk.store.http import open_http, session
from mlsdk.store.http.answers import seconds
from tests.servers.http import running
from tests.servers.proxy import (
    Proxy,
    answer,
    cut_answer,
    cut_request,
    delay,
    drop,
    duplicate,
    hang,
    lose_answer,
)

LOG = f"runs/{1:032x}/{2:032x}"
DATA = bytes(range(256)) * 2_000
DIGEST = hashlib.sha256(DATA).hexdigest()
OURS = {"Mlsdk-Api": "1", "Mlsdk-Format": "1", "Content-Type": "application/json"}
TOKEN = "mlsdk_ab12_Vyv2Qk9t7J"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """Tests wait for the next attempt too, but not for long."""
    monkeypatch.setattr(session, "_FIRST_PAUSE_S", 0.02)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with running(f"file:{tmp_path_factory.mktemp('served')}/store") as found:
        yield found


@pytest.fixture
def proxy(served, monkeypatch, tmp_path):
    """A network before the server that is bad from now on; the token is for its address."""
    with Proxy(int(served.url.rpartition(":")[2])) as found:
        _sign_in(monkeypatch, tmp_path, found, served.token)
        yield found


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """An address with no server of ours behind it: it answers what it is told."""
    with Proxy() as found:
        _sign_in(monkeypatch, tmp_path, found, TOKEN)
        yield found


def _sign_in(monkeypatch, tmp_path, proxy, token):
    monkeypatch.setenv("MLSDK_STORE", uri(proxy))
    monkeypatch.setenv("MLSDK_TOKEN", token)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def uri(proxy):
    return f"http://127.0.0.1:{proxy.port}/default"


def fresh(proxy, **options):
    """A store in which nothing stands yet, that has asked the server what it is."""
    store = open_http(uri(proxy), **options)
    store.logs._session.server()
    for log in store.logs.list():
        store.logs.delete(log)
    store.blobs.delete(DIGEST)
    proxy.requests.clear()
    return store


def error_of(call):
    with pytest.raises(mlsdk.MlsdkError) as caught:
        call()
    return caught.value


# What goes through in the end

FAULTS = {
    "drop": drop(),
    "the answer is lost": lose_answer(),
    "the answer is cut": cut_answer(3),
    "the request is cut": cut_request(30),
    "twice": duplicate(),
    "late": delay(0.05),
    "429": answer(429, {**OURS, "Retry-After": "0"}, b"{}"),
    "408": answer(408, OURS, b"{}"),
    "500 of a proxy": answer(500, {"Content-Type": "text/html"}, b"<html><title>oops</title>"),
    "502": answer(502, {}, b"bad gateway"),
    "503": answer(503, {"Retry-After": "0"}),
    "504": answer(504),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("log", [LOG, "shared/models/churn"])
def test_what_is_appended_stands_there_once(proxy, fault, log):
    """Whatever the network does to a request, what is appended stands in the log once, and the end is right."""
    logs = fresh(proxy).logs
    ends = [logs.append(log, 0, b"first;" * 20)]
    proxy.next(fault, fault)
    ends.append(logs.append(log, 120, b"second;" * 20))

    assert ends == [120, 260]
    assert logs.read(log) == b"first;" * 20 + b"second;" * 20


def test_reading_through_a_bad_network(proxy):
    """Answers that are cut or wrong are asked for again, and never taken for whole ones."""
    store = fresh(proxy)
    store.logs.append(LOG, 0, DATA)
    found = []
    for fault in (cut_answer(5), cut_answer(100_000), lose_answer(), answer(502)):
        proxy.next(fault)
        found.append(store.logs.read(LOG))
        proxy.next(fault)
        found.append(store.catalog.count())

    assert found == [DATA, 0] * 4


def test_an_upload_goes_on_where_it_was_cut(proxy):
    """Parts that the server has are not sent again, whatever cut the upload."""
    store = fresh(proxy)
    store.blobs._session._server = store.blobs._session.server()._replace(part_bytes=100_000)
    proxy.only = lambda request: request.method == "PUT"
    proxy.next(delay(0), cut_request(50_000), lose_answer(), answer(503, {"Retry-After": "0"}), drop(), duplicate())
    put = store.blobs.put(DATA)
    offsets = [request.path for request in proxy.requests if request.method == "PUT"]

    assert put == (DIGEST, len(DATA))
    assert store.blobs.open(DIGEST).read() == DATA
    assert len(offsets) <= 12
    assert sum("offset=0&" in path for path in offsets) == 1


def test_an_upload_goes_on_in_another_process_of_ours(proxy):
    """What one attempt has sent, a later one of another store object need not send."""
    first = fresh(proxy, attempts=1)
    first.blobs._session._server = first.blobs._session.server()._replace(part_bytes=100_000)
    proxy.only = lambda request: "offset=300000" in request.path
    proxy.next(drop())
    broke = error_of(lambda: first.blobs.put(DATA))
    proxy.requests.clear()
    second = open_http(uri(proxy))
    put = second.blobs.put(DATA)
    sent = sum(len(request.body) for request in proxy.requests if request.method == "PUT")

    assert isinstance(broke, UnavailableError)
    assert put == (DIGEST, len(DATA))
    assert sent == len(DATA) - 300_000


def test_a_download_goes_on_where_it_was_cut(proxy):
    """A download that broke is taken up at the byte where it broke, as often as it takes."""
    store = fresh(proxy)
    store.blobs.put(DATA)
    proxy.requests.clear()
    proxy.next(cut_answer(100_000), drop(), cut_answer(200_000), answer(503, {"Retry-After": "0"}))
    whole = store.blobs.open(DIGEST).read()
    ranges = [request.header("Range") for request in proxy.requests]
    proxy.next(cut_answer(1_000))
    part = store.blobs.open(DIGEST, 5_000, 9_000).read()

    assert whole == DATA
    assert ranges[0] is None
    assert len(ranges) == 5
    assert all(found.endswith("-") for found in ranges[1:])
    assert int(ranges[-1][6:-1]) >= 250_000
    assert part == DATA[5_000:14_000]


def test_a_server_that_comes_back(proxy, monkeypatch):
    """Calls go on by themselves when a server is there again."""
    store = fresh(proxy)
    proxy.down()
    monkeypatch.setattr(session._chance, "uniform", lambda _, most: 0.2)
    timer = threading.Timer(0.2, proxy.up)
    timer.start()
    count = store.catalog.count()
    timer.join()

    assert count == 0


# What does not


def test_a_server_that_is_not_there(proxy, monkeypatch):
    """Refused connections are an `UnavailableError` that names the server, after some attempts or after the one."""
    store, hasty = fresh(proxy), open_http(uri(proxy), attempts=1)
    monkeypatch.setenv("MLSDK_REQUEST_TIMEOUT_S", "1")
    proxy.down()
    for one in (store, hasty):
        error = error_of(one.catalog.count)

        assert isinstance(error, UnavailableError)
        assert f"127.0.0.1:{proxy.port}" in str(error)
        assert "Connection refused" in str(error)


def test_one_attempt_is_one(proxy):
    """Who has a loop of their own gets the first failure."""
    store = fresh(proxy, attempts=1)
    proxy.always(answer(503))

    assert isinstance(error_of(store.catalog.count), UnavailableError)
    assert isinstance(error_of(lambda: store.logs.append(LOG, 0, b"x")), UnavailableError)
    assert len(proxy.requests) == 2


def test_attempts_end(proxy):
    """A server that goes on failing is asked a few times, not for ever."""
    store = fresh(proxy)
    proxy.always(lose_answer())

    assert isinstance(error_of(store.catalog.count), UnavailableError)
    assert len(proxy.requests) == store.logs._session.attempts


def test_a_server_that_hangs(proxy, monkeypatch):
    """A server that takes requests and says nothing is given up after `request_timeout_s`."""
    store = fresh(proxy)
    monkeypatch.setenv("MLSDK_REQUEST_TIMEOUT_S", "0.3")
    proxy.always(hang(60))
    error = error_of(store.catalog.count)

    assert isinstance(error, UnavailableError)
    assert "did not answer within" in str(error)


@pytest.mark.parametrize("ours", [True, False])
def test_a_server_that_asks_for_time(proxy, ours):
    """Who is asked to wait longer than a caller would wait is told so at once, with the time."""
    store = fresh(proxy)
    date = email.utils.formatdate(time.time() + 500, usegmt=True)
    headers = OURS if ours else {}
    proxy.next(
        answer(429, {**headers, "Retry-After": "400"}, b"{}"), answer(503, {**headers, "Retry-After": date}, b"{}")
    )
    errors = [error_of(store.catalog.count), error_of(store.catalog.count)]

    assert len(proxy.requests) == 2
    assert errors[0].retry_after_s == 400
    assert 490 < errors[1].retry_after_s <= 500


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("7", 7.0),
        (2.5, 2.5),
        ("-3", 0.0),
        ("1e9", 3600.0),
        ("Fri, 01 Jan 2021 00:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        (None, None),
        (True, None),
        ([], None),
    ],
)
def test_how_long_to_wait(value, found):
    """Both forms of Retry-After are read, and nonsense is no time."""
    assert seconds(value) == found


# Errors that the server tells

TOLD = [
    (400, {"type": "UsageError", "message": "m"}, mlsdk.UsageError),
    (400, {"type": "FormatError", "message": "m"}, mlsdk.FormatError),
    (400, {"type": "DigestError", "message": "m"}, DigestError),
    (400, {"type": "NewerFormatError", "message": "m"}, NewerFormatError),
    (400, {"type": "QueryError", "message": "m", "text": "a =", "position": 3}, QueryError),
    (401, {"type": "AccessError", "message": "m"}, AccessError),
    (403, {"type": "AccessError", "message": "m"}, AccessError),
    (404, {"type": "NotFoundError", "message": "m"}, NotFoundError),
    (404, {"type": "AmbiguousError", "message": "m", "candidates": ["a", "b"]}, AmbiguousError),
    (409, {"type": "ConflictError", "message": "m", "log": LOG, "end": 7}, ConflictError),
    (413, {"type": "UsageError", "message": "m"}, mlsdk.UsageError),
    (426, {"type": "UsageError", "message": "m: upgrade the server"}, StoreError),
    (426, {"type": "NewerFormatError", "message": "m"}, NewerFormatError),
    (500, {"type": "StoreError", "message": "m"}, StoreError),
    (503, {"type": "UnavailableError", "message": "m", "retry_after_s": 99.5}, UnavailableError),
    (400, {"type": "ErrorOfTheFuture", "message": "m"}, StoreError),
    (404, {"type": "KeyboardInterrupt", "message": "m"}, NotFoundError),
    (403, {"type": 7, "message": "m"}, AccessError),
]


@pytest.mark.parametrize(
    ("status", "about", "kind"), TOLD, ids=[f"{status} {about['type']}" for status, about, _ in TOLD]
)
def test_errors_are_the_same_here(alone, status, about, kind):
    """An error that a server tells is raised here as the same class, with its message and attributes."""
    alone.always(answer(status, OURS, json.dumps({"error": about}).encode()))
    error = error_of(open_http(uri(alone), attempts=1).catalog.count)

    assert type(error) is kind
    assert "m" in str(error)
    told = {name: value for name, value in about.items() if name not in ("type", "message", "candidates")}
    assert {name: getattr(error, name) for name in told} == told
    if status == 401:
        assert "mlsdk login" in str(error)
    if kind is AmbiguousError:
        assert error.candidates == ("a", "b")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"error": "text"}', b"<html>", b'{"error": {"end": "x"}}'])
def test_errors_without_a_description(alone, body):
    """An error whose body says nothing is told by its status."""
    store = open_http(uri(alone), attempts=1)
    kinds = {403: AccessError, 404: NotFoundError, 429: UnavailableError, 500: StoreError}
    for status, kind in kinds.items():
        alone.next(answer(status, OURS, body))

        assert type(error_of(store.catalog.count)) is kind


# Answers of others

PAGE = b"<html><head><title>Hotel\n Wi-Fi</title></head><body>Welcome</body></html>"


def test_another_page_is_named(alone):
    """What is no server of ours, or a page before it, is said with its status and title."""
    store = open_http(uri(alone))
    alone.always(answer(200, {"Content-Type": "text/html"}, PAGE))
    errors = [
        error_of(store.catalog.count),
        error_of(lambda: store.blobs.open(DIGEST)),
        error_of(lambda: store.logs.size(LOG)),
    ]

    assert {type(error) for error in errors} == {StoreError}
    assert "Wi-Fi" in str(errors[0])
    assert "200" in str(errors[0])
    assert len(alone.requests) == 3


def test_a_404_of_another_is_no_missing_log(alone):
    """A page that is not found on another server does not count as a log, or a blob, that is not there."""
    store = open_http(uri(alone))
    alone.always(answer(404, {"Content-Type": "text/html"}, PAGE))
    errors = [error_of(lambda: store.logs.size(LOG)), error_of(lambda: store.blobs.exists(DIGEST))]

    assert {type(error) for error in errors} == {StoreError}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(alone, status):
    """A redirect is an error that names where it leads; the other host hears nothing, and gets no token."""
    with Proxy() as other:
        other.always(answer(200, OURS, b'{"count": 1}'))
        alone.always(answer(status, {"Location": f"http://127.0.0.1:{other.port}/v1/x?secret=1"}))
        store = open_http(uri(alone))
        errors = [error_of(store.catalog.count), error_of(lambda: store.blobs.open(DIGEST))]

        assert {type(error) for error in errors} == {StoreError}
        assert all(f"127.0.0.1:{other.port}" in str(error) for error in errors)
        assert all("secret" not in str(error) for error in errors)
        assert other.requests == []


def test_versions_that_do_not_meet(alone):
    """An answer in another version of the API says which side to upgrade."""
    alone.next(
        answer(200, {**OURS, "Mlsdk-Api": "2, 3", "Mlsdk-Version": "9.1"}, b"{}"),
        answer(200, {**OURS, "Mlsdk-Api": "0"}),
    )
    store = open_http(uri(alone))
    newer, older = error_of(store.catalog.count), error_of(store.catalog.count)

    assert "pip install -U mlsdk" in str(newer)
    assert "9.1" in str(newer)
    assert "upgrade the server" in str(older)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_answers_that_are_no_json(alone, body):
    """A whole answer that is no JSON is an error."""
    alone.always(answer(200, OURS, body))

    assert isinstance(error_of(open_http(uri(alone)).catalog.count), StoreError)


def test_other_bytes_are_not_handed_out(alone):
    """Bytes of a blob that are not those of its digest are an error, also from another place."""
    alone.always(answer(200, OURS, b"other bytes"))

    assert isinstance(error_of(lambda: open_http(uri(alone)).blobs.open(DIGEST)), DigestError)


# Tokens


def test_the_token_goes_in_the_header_alone(proxy, served):
    """The token stands in the header of each request, never in a path or body; the usual headers go along."""
    store = fresh(proxy)
    store.logs.append(LOG, 0, b"x")
    store.blobs.put(DATA)
    store.blobs.open(DIGEST).close()
    requests = proxy.requests

    assert {request.header("Authorization") for request in requests} == {f"Bearer {served.token}"}
    assert {request.header("Mlsdk-Api") for request in requests} == {"1"}
    assert {request.header("Mlsdk-Format") for request in requests} == {"1"}
    assert all(request.header("User-Agent").startswith("mlsdk/") for request in requests)
    assert not any(served.token in request.path or served.token.encode() in request.body for request in requests)


def test_passwords_of_netrc_stay_at_home(alone, monkeypatch, tmp_path):
    """A password in ~/.netrc is not sent instead of a token, nor where there is none."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    alone.always(answer(200, OURS, b'{"count": 1}'))
    open_http(uri(alone)).catalog.count()
    monkeypatch.delenv("MLSDK_TOKEN")
    open_http(uri(alone)).catalog.count()

    assert [request.header("Authorization") for request in alone.requests] == [f"Bearer {TOKEN}", None]


# Addresses of an object store


def test_a_blob_from_the_object_store(alone):
    """Where the server names an address of its object store, the bytes come from there, without the token."""
    with Proxy() as bucket:
        at = f"http://127.0.0.1:{bucket.port}/key?signature=s"
        alone.always(answer(307, {**OURS, "Location": at}))
        bucket.next(answer(200, {}, DATA), answer(206, {}, DATA[:9]))
        store = open_http(uri(alone))
        whole = store.blobs.open(DIGEST).read()

        assert whole == DATA
        assert bucket.requests[0].header("Authorization") is None
        assert bucket.requests[0].path == "/key?signature=s"


@pytest.mark.parametrize("fault", [answer(403, {}, b"<Error>expired</Error>"), drop(), cut_answer(0)])
def test_an_object_store_that_cannot_be_reached(proxy, fault):
    """Where the address of the object store does not answer from here, the server gives the bytes itself."""
    store = fresh(proxy)
    store.blobs.put(DATA)
    with Proxy() as bucket:
        bucket.always(fault)
        proxy.only = lambda request: "redirect=1" in request.path
        proxy.always(answer(307, {**OURS, "Location": f"http://127.0.0.1:{bucket.port}/key"}))

        assert store.blobs.open(DIGEST).read() == DATA
        assert store.blobs.open(DIGEST).read() == DATA
        assert len(bucket.requests) == 1


BIG = DATA * 3
BIG_DIGEST = hashlib.sha256(BIG).hexdigest()


def test_a_blob_to_the_object_store(alone):
    """Where the server names an address to write to, the bytes go there in one piece, and the server is told."""
    with Proxy() as bucket:
        begun = {"there": False, "offset": 0, "url": f"http://127.0.0.1:{bucket.port}/key?signature=s"}
        bucket.next(answer(200))
        alone.next(
            answer(200, OURS, b"{}"),
            answer(200, OURS, json.dumps(begun).encode()),
            answer(200, OURS, b'{"there": true}'),
        )
        put = open_http(uri(alone)).blobs.put(BIG)
        request = bucket.requests[0]

        assert put == (BIG_DIGEST, len(BIG))
        assert (request.method, request.body, request.header("Authorization")) == ("PUT", BIG, None)
        assert alone.requests[-1].path == f"/v1/w/default/uploads/{BIG_DIGEST}/done?size_bytes={len(BIG)}"


def test_an_object_store_that_takes_nothing_from_here(proxy):
    """Where the address to write to cannot be used, the parts go through the server."""
    store = fresh(proxy)
    store.blobs.delete(BIG_DIGEST)
    with Proxy() as bucket:
        bucket.always(answer(403))
        begun = {"there": False, "offset": 0, "url": f"http://127.0.0.1:{bucket.port}/key"}
        proxy.only = lambda request: request.path.endswith("/uploads")
        proxy.next(answer(200, OURS, json.dumps(begun).encode()))
        put = store.blobs.put(BIG)

        assert put == (BIG_DIGEST, len(BIG))
        assert len(bucket.requests) == 1
        assert store.blobs.exists(BIG_DIGEST)


# Certificates


def test_certificates_are_checked(tmp_path, monkeypatch):
    """An unknown certificate is refused by a message that says what to do; a named authority is trusted."""
    cert, key = _certificate(tmp_path)
    with running(f"file:{tmp_path}/store", tls=(cert, key)) as served:
        monkeypatch.setenv("MLSDK_STORE", f"{served.url}/default")
        monkeypatch.setenv("MLSDK_TOKEN", served.token)
        refused = error_of(open_http(f"{served.url}/default").catalog.count)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
        missing = error_of(open_http(f"{served.url}/default").catalog.count)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", cert)

        assert type(refused) is StoreError
        assert "REQUESTS_CA_BUNDLE" in str(refused)
        assert type(missing) is StoreError
        assert "none.pem" in str(missing)
        assert open_http(f"{served.url}/default").catalog.count() == 0


def test_a_certificate_of_ones_own(tmp_path, monkeypatch):
    """A server that asks for a certificate gets that of `MLSDK_CLIENT_CERT`; without it no answer comes."""
    cert, key = _certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(cert).read_bytes() + Path(key).read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    with running(f"file:{tmp_path}/store") as served, _behind(context, int(served.url.rpartition(":")[2])) as port:
        address = f"https://127.0.0.1:{port}/default"
        monkeypatch.setenv("MLSDK_STORE", address)
        monkeypatch.setenv("MLSDK_TOKEN", served.token)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", cert)
        refused = error_of(open_http(address, attempts=1).catalog.count)
        monkeypatch.setenv("MLSDK_CLIENT_CERT", str(both))
        store = open_http(address)
        count = store.catalog.count()
        store.logs._session.close()

        assert isinstance(refused, mlsdk.MlsdkError)
        assert count == 0


@contextlib.contextmanager
def _behind(context, port):
    """A proxy that ends TLS before a server; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as client,
                socket.create_connection(("127.0.0.1", port)) as there,
            ):
                threading.Thread(target=_pump, args=(there, client), daemon=True).start()
                _pump(client, there)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield found.server_address[1]
        finally:
            found.shutdown()
            thread.join()


def _pump(source, to):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)


def _certificate(folder):
    """Files of a certificate for 127.0.0.1 that nobody knows, and of its key."""
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.timezone.utc)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(7).not_valid_before(now - dt.timedelta(days=1))
    built = built.not_valid_after(now + dt.timedelta(days=1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = built.add_extension(here, critical=False)
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = built.sign(key, hashes.SHA256())
    paths = [os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")]
    plain = serialization.NoEncryption()
    key_bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    for path, data in zip(paths, (made.public_bytes(serialization.Encoding.PEM), key_bytes), strict=True):
        with open(path, "wb") as file:
            file.write(data)
    return paths
