"""Tokens: which server gets which, who may read them, and that nothing shows them."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlsdk.errors import AccessError, ConfigError
from mlsdk.store import credentials

SERVER = "https://runs.example"
TOKEN = "mlsdk_ab12_Vyv2Qk9t7J"


@pytest.fixture(autouse=True)
def _home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://runs.example/team", "https://runs.example"),
        ("HTTPS://Runs.Example:443", "https://runs.example"),
        ("http://127.0.0.1:8383/default", "http://127.0.0.1:8383"),
        ("http://[::1]:80/a/b?x=1", "http://[::1]"),
    ],
)
def test_origins(uri, origin):
    """An address means its scheme, host and port, however it is written."""
    assert credentials.origin_of(uri) == origin


@pytest.mark.parametrize("uri", ["runs.example", "file:/x", "https://", "http://host:port/", "http://a:70000"])
def test_what_is_no_address(uri):
    """What names no server is refused."""
    with pytest.raises(ConfigError, match="address"):
        credentials.origin_of(uri)


@pytest.mark.parametrize("userinfo", [TOKEN, f"me:{TOKEN}", f":{TOKEN}"])
def test_addresses_hold_no_secrets(userinfo):
    """An address with a user or a password is refused by a message that does not repeat it."""
    with pytest.raises(ConfigError, match="mlsdk login") as caught:
        credentials.origin_of(f"https://{userinfo}@runs.example/team")

    assert TOKEN not in str(caught.value)


def test_saved_tokens_are_found_by_their_server_alone():
    """A token is given back for its own origin, and for no other scheme, host or port."""
    credentials.save(f"{SERVER}/team", TOKEN)
    others = ["http://runs.example", f"{SERVER}:444", "https://example", "https://runs.example.evil.test"]

    assert credentials.token_for(f"{SERVER}/other") == TOKEN
    assert [credentials.token_for(other) for other in others] == [None] * 4
    assert credentials.origins() == [SERVER]


def test_forgetting():
    """A forgotten token is gone, and the others stay."""
    credentials.save(SERVER, TOKEN)
    credentials.save("http://127.0.0.1:8383", "other")
    gone = [credentials.forget(SERVER), credentials.forget(SERVER)]

    assert gone == [True, False]
    assert credentials.token_for(SERVER) is None
    assert credentials.token_for("http://127.0.0.1:8383") == "other"


def test_the_file_is_private():
    """The file can be read by its owner alone, and so can its folder, whatever the umask and the folder's mode were."""
    before = os.umask(0)
    try:
        os.makedirs(os.path.dirname(credentials.path()), 0o777)
        file = credentials.save(SERVER, TOKEN)
    finally:
        os.umask(before)

    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(file)).st_mode) == 0o700
    assert os.listdir(os.path.dirname(file)) == ["credentials.json"]


def test_a_file_that_others_can_read_is_refused():
    """Tokens that others could have read are not used; the message says what to do and shows none."""
    file = credentials.save(SERVER, TOKEN)
    os.chmod(file, 0o640)
    with pytest.raises(AccessError, match="chmod 600") as caught:
        credentials.token_for(SERVER)

    assert TOKEN not in str(caught.value)
    with pytest.raises(AccessError, match="revoke"):
        credentials.save(SERVER, TOKEN)


def test_a_damaged_file_is_said():
    """A file that is no JSON is an error that names it and repeats nothing of it."""
    file = credentials.save(SERVER, TOKEN)
    with open(file, "a", encoding="utf-8") as out:
        out.write(TOKEN)
    with pytest.raises(AccessError, match=r"credentials\.json") as caught:
        credentials.token_for(SERVER)

    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", [[], {"tokens": 7}, {"tokens": {SERVER: 7}}, {}])
def test_strange_content_is_no_token(content):
    """A file of another shape holds no tokens."""
    file = credentials.save(SERVER, TOKEN)
    with open(file, "w", encoding="utf-8") as out:
        json.dump(content, out)

    assert credentials.token_for(SERVER) is None


def test_the_environments_token_goes_to_the_stores_server(monkeypatch):
    """`MLSDK_TOKEN` is sent to the server that `MLSDK_STORE` names, where it is above a saved one, and nowhere else."""
    credentials.save(SERVER, "saved")
    monkeypatch.setenv("MLSDK_TOKEN", f" {TOKEN}\n")
    alone = credentials.token_for(SERVER), credentials.token_for("https://evil.test")
    monkeypatch.setenv("MLSDK_STORE", f"{SERVER}/team")

    assert alone == ("saved", None)
    assert credentials.token_for(SERVER) == TOKEN
    assert credentials.token_for("https://evil.test") is None
    assert "only sent" in credentials.why_none("https://evil.test")
    assert "only sent" not in credentials.why_none(SERVER)


@pytest.mark.parametrize("store", ["", "file:/x", "plain", "https://", "https://u:p@runs.example/"])
def test_a_store_that_is_no_server_gets_no_token(monkeypatch, store):
    """With any other `MLSDK_STORE` the token of the environment goes nowhere."""
    monkeypatch.setenv("MLSDK_TOKEN", TOKEN)
    monkeypatch.setenv("MLSDK_STORE", store)

    assert credentials.token_for(SERVER) is None


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "a\r\nX-Header: b", "tök"])
def test_what_no_header_can_carry_is_no_token(token):
    """A token that would break a header is refused, and not shown."""
    with pytest.raises(AccessError) as caught:
        credentials.save(SERVER, token)

    assert len(token.strip()) < 3 or token.strip() not in str(caught.value)
    assert credentials.origins() == []


def test_the_file_is_whole_at_any_time():
    """While others save and forget, whoever reads finds a whole file."""

    def work(number):
        if number % 2:
            credentials.save(f"http://h{number}.test", TOKEN)
        return credentials.token_for(SERVER)

    credentials.save(SERVER, TOKEN)
    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(work, range(60)))

    assert found == {TOKEN}
