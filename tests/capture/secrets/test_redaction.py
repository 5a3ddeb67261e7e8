"""Secrets are taken out by name, by form and by randomness, and what is none is left alone."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import hashlib
import itertools
import pathlib
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.capture.secrets.redaction import REDACTED, redact_argv, redact_line, redact_text, redact_value
from mlsdk.log.values import decode, encode
from tests import canaries

NOISE = random.Random(7)
FORMS = canaries.tokens(NOISE)
NAMED = canaries.named(NOISE)


def noise(length: int, letters: str = canaries.LETTERS) -> str:
    """Letters of a made-up token; put together here, so that no scanner takes this file for a leak."""
    return canaries.noise(NOISE, length, letters)


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    """A token of a known form is taken out wherever it stands, in code too, and nothing around it."""
    around = [("", ""), ("x = '", "'"), ("see ", " there"), ("(", ")"), ("url?a=", "&b=1"), ("a\\n", "\\n"), ("_", ",")]
    around += [("\x1b[31m", "\x1b[0m"), ("%20", "%20"), ("a-", "."), ("é", "é"), ("<", ">")]
    for (before, after), code in itertools.product(around, (False, True)):
        redacted, hits = redact_text(before + FORMS[name] + after, code=code)

        assert redacted == before + REDACTED + after
        assert len(hits) == 1


@pytest.mark.parametrize("name", NAMED)
def test_forms_of_surroundings(name: str) -> None:
    """What is a secret by what stands before it goes, and the rest of a URL or a header stays."""
    secret = noise(86 if name == "Azure storage" else 40)
    text = f"x = '{NAMED[name]}'"
    left = text.replace("ann:CANARY@", ":CANARY@").replace("//:CANARY@", "//CANARY@").replace("CANARY==", "CANARY")
    for code in (False, True):
        assert redact_text(text.replace("CANARY", secret), code=code)[0] == left.replace("CANARY", REDACTED)


@pytest.mark.parametrize("name", canaries.CODE)
def test_ways_of_code(name: str) -> None:
    """However code says a secret under its name, it goes, from a source line in a traceback too; the line stays."""
    text = canaries.CODE[name]
    for secret, code in itertools.product(("hunter2x!", FORMS["Stripe"], noise(44)), (False, True)):
        if name == "login call" and len(secret) < 20:
            continue
        redacted, hits = redact_text(text.replace("CANARY", secret), code=code)

        assert hits
        assert secret not in redacted
        assert redacted.count("\n") == text.count("\n")
        assert redact_text(redacted, code=code) == (redacted, ())


@pytest.mark.parametrize("name", canaries.SETTINGS)
def test_ways_of_settings(name: str) -> None:
    """Files of settings and commands lose the secret alone, quoted or not."""
    text = canaries.SETTINGS[name]
    for secret, code in itertools.product(("hunter2x", noise(44)), (False, True)):
        assert redact_text(text.replace("CANARY", secret), code=code, bare=True)[0] == text.replace("CANARY", REDACTED)


def test_keys_line_by_line() -> None:
    """A private key that is printed line by line goes to its last line, and what is printed then stays."""
    lines = ["epoch 1", *canaries.key_block(NOISE, "RSA").split("\n"), "epoch 2", "loss: 0.5"]
    shown, in_key = [], False
    for line in lines:
        text, in_key = redact_line(line, in_key=in_key)
        shown.append(text)

    assert shown == ["epoch 1", *[REDACTED] * (len(lines) - 3), "epoch 2", "loss: 0.5"]


def test_secret_half_of_an_aws_key() -> None:
    """Next to its public half it goes, though it has neither a name nor a form; a digest there stays."""
    half, digest = noise(40), hashlib.sha1(b"").hexdigest()
    text = f'Session("{FORMS["AWS access key id"]}", "{half}")  # {digest}'

    assert redact_text(text, code=True)[0] == f'Session("{REDACTED}", "{REDACTED}")  # {digest}'


def test_private_keys() -> None:
    """A private key goes whole, cut off, escaped into one line or as code; lines stay lines, what follows stays."""
    for kind in ("", "RSA", "EC", "OPENSSH", "PGP"):
        key = canaries.key_block(NOISE, kind)
        breaks = "\n" * key.count("\n")
        in_code = "key = (\n" + "\n".join(f"    {line + chr(10)!r}" for line in key.split("\n")) + "\n)"
        assert redact_text(f"a\n{key}\nb", code=True)[0] == f"a\n{REDACTED}{breaks}\nb"
        assert redact_text(f"a = {key!r}, 1", code=True)[0] == f"a = '{REDACTED}', 1"
        assert redact_text(key[:200] + "\nand so on", code=True)[0].replace("\n", "") == f"{REDACTED}and so on"
        assert redact_text(in_code, code=True)[0].count("\n") == in_code.count("\n")
        assert not any(line in redact_text(in_code, code=True)[0] for line in key.split("\n")[1:-1])

    assert redact_text("a -----BEGIN PUBLIC KEY----- b") == ("a -----BEGIN PUBLIC KEY----- b", ())
    alone = canaries.key_block(random.Random(1), "").split("\n")[1:-2]
    assert {redact_text(line)[0] for line in alone} == {REDACTED}


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql://ann:hunter2@db:5432/x?a=1", "postgresql://[redacted]@db:5432/x?a=1"),
        ("redis://:p@ss@host/0", "redis://[redacted]@host/0"),
        ("git clone ssh://git@host/x.git", None),
        ("http://localhost:8080/a@b", None),
        ("https://x.blob/y?se=2026&sig=abc%2Fdef&sp=r", "https://x.blob/y?se=2026&sig=[redacted]&sp=r"),
        ("f'://{user}:{password}@{host}'", None),
        ("Authorization: Basic YW5uOmh1bnRlcg==", "Authorization: Basic [redacted]"),
        ("curl -H 'x: Bearer abcdef0123456789'", "curl -H 'x: Bearer [redacted]'"),
        ("password=hunter2 lr=0.1", "password=[redacted] lr=0.1"),
        ("password=123456", "password=[redacted]"),
        ('{"api_key": "a b", "lr": 0.1}', '{"api_key": "[redacted]", "lr": 0.1}'),
        ("Config(db_password='a\\'b', n=1)", "Config(db_password='[redacted]', n=1)"),
        ("Config(secret=a,b, n=1)", "Config(secret=[redacted], n=1)"),
        ("secret=b'abc'", "secret=b'[redacted]'"),
        ('"{\\"password\\": \\"abc\\"}"', '"{\\"password\\": \\"[redacted]\\"}"'),
        ("url=password=abc", "url=password=[redacted]"),
        ("run train.py --hf-token abc --lr 1", "run train.py --hf-token [redacted] --lr 1"),
        ("export API_TOKEN=abc", "export API_TOKEN=[redacted]"),
        ("export API_TOKEN=$OTHER", None),
        ("password: None, token: 5, auth: true", None),
        ("token: hello next_token: world pad_token: <pad>", None),
        ("tokens: 512  n_tokens=3 max_token=4 tokens/s: 10", None),
        ("Enter password:", None),
        ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:training-a1b2c3", None),
        ("proxyAuth=disabled http_auth: required", None),
        ("    password = ask_for_it(user)", None),
        ("    token = os.environ.get('TOKEN', 'hunter22')", "    token = os.environ.get('TOKEN', '[redacted]')"),
        ("author: Ann, keyboard: qwerty, tokenizer: bert-base", None),
        ("", None),
        ("é" * 30, None),
    ],
)
def test_lines(text: str, redacted: str | None) -> None:
    """A line of output loses its secrets, and only these; a second pass changes nothing."""
    expected = text if redacted is None else redacted

    assert redact_text(text)[0] == expected
    assert redact_text(expected) == (expected, ())


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ('password = "hunter2"', 'password = "[redacted]"'),
        ("api_key: str = 'hunter2'", "api_key: str = '[redacted]'"),
        ('os.environ["HF_TOKEN"] = "hunter2"', 'os.environ["HF_TOKEN"] = "[redacted]"'),
        ('{"secret": "hunter2"}', '{"secret": "[redacted]"}'),
        ("password = get_password()", None),
        ("token = tokenizer.encode('hello1234')", None),
        ("def f(password: str, token: str = ''): ...", None),
        ('password_env = "DB_PASSWORD"', None),
        ('token = "DB_TOKEN"', None),
        ('parser.add_argument("--password", help="the password1")', None),
        (f'REVISION = "{noise(40)}"', None),
        ("%env API_TOKEN=hunter2", "%env API_TOKEN=[redacted]"),
        ("!login.sh --password hunter2 -v", "!login.sh --password [redacted] -v"),
        ("api_key = my_key", None),
    ],
)
def test_code(text: str, redacted: str | None) -> None:
    """In code only literals are secrets, and randomness is no sign: hashes and weights are data."""
    assert redact_text(text, code=True)[0] == (redacted or text)


def test_argv() -> None:
    """A command line loses the values of secret options in either form, and of assignments."""
    argv = ["train.py", "--token", "abc", "--api-key=a b", "--lr", "0.1", "db.password=x y", "--password", "--verbose"]
    numbers = ["--token", "5", "--password", "123456", "--use-auth", "data.csv", "--max-tokens", "many"]

    assert redact_argv(argv) == [
        *("train.py", "--token", REDACTED, f"--api-key={REDACTED}", "--lr", "0.1", f"db.password={REDACTED}"),
        *("--password", "--verbose"),
    ]
    assert redact_argv(numbers) == [*numbers[:3], REDACTED, *numbers[4:]]
    assert redact_argv(["--url=https://a:b@h"]) == [f"--url=https://{REDACTED}@h"]
    assert redact_argv([]) == []


@pytest.mark.parametrize(
    ("name", "value", "redacted"),
    [
        ("token", "abc", REDACTED),
        ("token", 5, 5),
        ("token", None, None),
        ("password", True, True),
        ("password", 123456, REDACTED),
        ("pin", 1234, REDACTED),
        ("pin_memory", True, True),
        ("lr", FORMS["GitHub classic"], REDACTED),
        ("hf_token", "${HF_TOKEN}", "${HF_TOKEN}"),
        ("config", {"db": {"password": "x", "port": 1}}, {"db": {"password": REDACTED, "port": 1}}),
        ("credentials", {"user": "ann", "n": [1, "x"]}, {"user": REDACTED, "n": [1, REDACTED]}),
        ("auth", ("ann", "x"), (REDACTED, REDACTED)),
        ("auth", {"type": "basic", "password": "x"}, {"type": "basic", "password": REDACTED}),
        ("api_keys", ["a", "b"], [REDACTED, REDACTED]),
        ("argv", ["--token", "x", 1], ["--token", REDACTED, 1]),
        ("items", {FORMS["GitHub classic"]: 1}, {REDACTED: 1}),
        ("secret", b"abc", REDACTED),
        ("weights", b"abc", b"abc"),
        ("headers", [["X-Token", "abc123"], ["token", "label"]], [["X-Token", REDACTED], ["token", "label"]]),
    ],
)
def test_values(name: str, value: Any, redacted: Any) -> None:
    """A value loses its secrets by its name and by the names inside it; numbers stay unless they are passwords."""
    got = redact_value(name, value)

    assert got == redacted
    assert (got is value) == (value == redacted)


def test_values_of_code() -> None:
    """Where a value is source code, what looks random in it stays."""
    cell = f'x = "{noise(44)}"; api_key = y'
    told = f'{cell}; password = "hunter2"'

    assert redact_value("cells", [cell], code=True) == [cell]
    assert redact_value("cells", [told], code=True) == [told.replace("hunter2", REDACTED)]
    assert redact_value("cells", ["password='hunter2'\nx = 1"], code=True) == [f"password='{REDACTED}'\nx = 1"]


def test_encoded_values() -> None:
    """In an encoded value the fields of objects and the keys of maps are names, and tags stay readable."""

    @dataclasses.dataclass
    class Login:
        user: str
        password: str
        pad_token: str = "<pad>"

    value = {
        "login": Login("ann", "x"),
        "space": argparse.Namespace(token="abc", n=2**70),
        "map": {1: "a", "b": {"secret": "x"}, ("api_key",): 1},
        "path": pathlib.Path("/home/ann/aB3dE5fG7hJ9kL1mN3pQ5rS7tU9"),
        "raw": NOISE.randbytes(40),
        "password": 2**70,
        "secret": b"x",
        "odd": "password=\udc80",
        "pair": ("--token", "x"),
        "bytes": FORMS["GitHub classic"].encode(),
        "where": pathlib.Path("data") / FORMS["GitHub classic"],
        "option": enum.Enum("Option", {"TOKEN": "abc", "OTHER": FORMS["GitHub classic"]}),
    }
    value |= {"one": value["option"].TOKEN, "other": value.pop("option").OTHER}
    read = decode(redact_value("params", encode(value)))

    assert read["login"] == {"user": "ann", "password": REDACTED, "pad_token": "<pad>"}
    assert read["space"] == {"token": REDACTED, "n": 2**70}
    assert read["map"] == {1: "a", "b": {"secret": REDACTED}, ("api_key",): 1}
    assert (read["path"], read["raw"]) == (value["path"], value["raw"])
    assert (read["bytes"], read["where"]) == (REDACTED, pathlib.PurePath("data", REDACTED))
    assert (read["one"].value, read["other"].value) == (REDACTED, REDACTED)
    assert (read["password"], read["secret"], read["odd"]) == (REDACTED,) * 3
    assert read["pair"] == ("--token", REDACTED)


@given(
    st.text(max_size=60)
    | st.from_regex(r"(token|api_key|--password)[=: ]['\"(\[]?[a-z0-9,;\])'\"]{0,9}", fullmatch=True)
    | st.lists(
        st.sampled_from([*canaries.CODE.values(), *canaries.SETTINGS.values(), *FORMS.values()]), max_size=3
    ).map(" ".join),
    st.booleans(),
)
def test_again_changes_nothing(text: str, code: bool) -> None:
    """What was redacted once is not redacted again, every replacement is counted, and clean text is the same object."""
    redacted, hits = redact_text(text, code=code)
    again, none = redact_text(redacted, code=code)

    assert (redacted != text) == bool(hits)
    assert hits or redacted is text
    assert again is redacted
    assert none == ()


SIGNS = st.text(" \t\n\r.,;:!?'\"`()[]{}<>|/\\=&%#@$^*+~é√", max_size=8)


@given(st.sampled_from(sorted(FORMS)), SIGNS, SIGNS, st.booleans())
def test_nothing_around_it_hides_a_token(name: str, before: str, after: str, code: bool) -> None:
    """Whatever signs, quotes and spaces surround a token, nothing of it is left."""
    redacted, hits = redact_text(before + FORMS[name] + after, code=code)

    assert hits
    assert FORMS[name][8:] not in redacted


@given(st.sampled_from(sorted(canaries.CODE)), st.text(canaries.LETTERS + "!$%&/()=?+*~#-_.:,;<>|@^", min_size=8))
def test_no_password_in_quotes_survives(name: str, secret: str) -> None:
    """A password in quotes under its name goes, whatever signs it has, if it has a digit and is no reference."""
    secret = "h7" + secret + "x"
    if name == "login call":
        return

    assert secret not in redact_text(canaries.CODE[name].replace("CANARY", secret), code=True)[0]


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a=" * 100_000,
        "password=" * 10_000,
        "token=" * 5_000,
        "password=x;token=y;" * 5_000,
        "password=a1b2c3d4,'" * 5_000,
        "add_argument('--token', default=" * 3_000,
        "api_keys=['a1b2c3d4'," * 5_000,
        '"a1b2c3d4" == token ' * 5_000,
        "machine a login b password " * 5_000,
        "curl -u a:b " * 5_000,
        "://" * 60_000,
        "://a:" * 40_000,
        "-----BEGIN RSA PRIVATE " + "KEY-----" * 20_000,
        "eyJ" * 60_000,
        "sk-" * 60_000,
        "login('" * 20_000,
        'token="\\' * 20_000,
        "A1b-" * 50_000,
        " " * 200_000 + "token",
        "token" + " " * 200_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text(text: str) -> None:
    """No text makes redaction slow: its time grows with the length, not faster."""
    for code in (False, True):
        started = time.process_time()
        redact_text(text, code=code)

        assert time.process_time() - started < 3
