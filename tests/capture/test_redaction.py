"""Secrets are taken out by name, by form and by randomness, and what is none is left alone."""

from __future__ import annotations

import argparse
import base64
import dataclasses
import hashlib
import pathlib
import random
import string
import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.capture.redaction import REDACTED, is_secret_name, redact_argv, redact_text, redact_value
from mlsdk.log.values import decode, encode

NOISE = random.Random(7)


def noise(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    """Letters of a made-up token; put together here, so that no scanner takes this file for a leak."""
    return "".join(NOISE.choices(letters, k=length))


FORMS = {
    "AWS key": "AK" + "IA" + noise(16, string.ascii_uppercase + "234567"),
    "GitHub token": "gh" + "p_" + noise(36),
    "GitHub fine-grained token": "github" + "_pat_" + noise(22) + "_" + noise(59),
    "GitLab token": "gl" + "pat-" + noise(20),
    "Slack token": "xo" + "xb-" + noise(12, string.digits) + "-" + noise(24),
    "OpenAI key": "sk" + "-proj-" + noise(48),
    "Anthropic key": "sk" + "-ant-api03-" + noise(60),
    "Stripe key": "sk" + "_live_" + noise(24),
    "Google key": "AI" + "za" + noise(35),
    "Hugging Face token": "hf" + "_" + noise(34),
    "JWT": ".".join(("ey" + "J" + noise(20), noise(40), noise(43))),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("code", [False, True])
def test_forms(name: str, code: bool) -> None:
    """A token of a known form is taken out wherever it stands, in code too, and nothing around it."""
    for before, after in (("", ""), ("x = '", "'"), ("see ", " there"), ("(", ")"), ("url?a=", "&b=1")):
        redacted, hits = redact_text(before + FORMS[name] + after, code=code)

        assert redacted == before + REDACTED + after
        assert len(hits) == 1


def test_private_keys() -> None:
    """A private key goes whole, cut off or escaped into one line as well; what follows it stays."""
    body = base64.b64encode(random.Random(1).randbytes(300)).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    for kind in ("", "RSA ", "OPENSSH "):
        key = f"-----BEGIN {kind}PRIVATE " + f"KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"
        assert redact_text(f"a\n{key}\nb", code=True)[0] == f"a\n{REDACTED}\nb"
        assert redact_text(f"a = {key!r}, 1", code=True)[0] == f"a = '{REDACTED}', 1"
        assert redact_text(key[:200] + "\nand so on", code=True)[0] == f"{REDACTED}\nand so on"

    assert redact_text("a -----BEGIN PUBLIC KEY----- b") == ("a -----BEGIN PUBLIC KEY----- b", ())
    assert {redact_text(line)[0] for line in lines.split("\n")[:-1]} == {REDACTED}


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
    ],
)
def test_code(text: str, redacted: str | None) -> None:
    """In code only literals are secrets, and randomness is no sign: hashes and weights are data."""
    assert redact_text(text, code=True)[0] == (redacted or text)


@pytest.mark.parametrize(
    "name",
    "password DB_PASSWORD PGPASSWORD db_pass passwd secret client_secret secret_key token hf_token API_TOKEN apiKey "
    "APIKey HFToken api-key api.key apikey access_key private_key credentials auth http_auth Authorization jwt "
    "--password AWS_SECRET_ACCESS_KEY azure.account_key accessToken password1".split(),
)
def test_secret_names(name: str) -> None:
    """Names that promise a secret, in whatever style they are written."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    "tokenizer max_tokens n_tokens tokens author authors keyboard token_count token_ids pad_token eos_token num_token "
    "key keys monkey primary_key sort_key PWD pin_memory passes n_pass compass bypass password_file secret_name "
    "api_key_env "
    "auth_type use_tokenizer spinning cookies_accepted public_key".split(),
)
def test_harmless_names(name: str) -> None:
    """Names that only look like those of secrets."""
    assert not is_secret_name(name)


def test_random_tokens() -> None:
    """Nearly every long random token is seen."""
    makers = [
        lambda: noise(40),
        lambda: base64.b64encode(NOISE.randbytes(32)).decode(),
        lambda: base64.urlsafe_b64encode(NOISE.randbytes(32)).decode(),
        lambda: NOISE.randbytes(24).hex(),
        lambda: noise(36, string.ascii_lowercase + string.digits),
    ]
    for make in makers:
        found = sum(redact_text(f"value {make()} end")[0] == f"value {REDACTED} end" for _ in range(200))
        assert found > 170


@pytest.mark.parametrize(
    "text",
    [
        hashlib.sha1(b"").hexdigest(),
        hashlib.sha256(b"").hexdigest(),
        hashlib.sha512(b"").hexdigest(),
        hashlib.md5(b"").hexdigest(),
        "image@sha256:" + hashlib.sha256(b"").hexdigest(),
        "sha256-" + base64.b64encode(hashlib.sha256(b"").digest()).decode(),
        str(uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)),
        "run-2026-01-02T03-04-05-" + str(uuid.uuid5(uuid.NAMESPACE_DNS, "x")),
        "/home/user/Data1/aB3dE5fG7hJ9kL1mN3pQ5rS7tU9/x",
        "checkpoints/aB3dE5fG7hJ9kL1mN3pQ5rS7tU9",
        "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9.ckpt",
        "ResNet50V2_ImageNet1kV1Weights_Pretrained2",
        "RandomForestClassifierWithHundredEstimators100",
        "v1.2.3-14-g0123abc-dirty-2026-01-02-py311",
        "=" * 80,
        "-" * 80,
        "12345678901234567890123456789012345678901234567890",
        "meta-llama/Meta-Llama-3.1-8B-Instruct-Q4_K_M",
    ],
)
def test_not_random(text: str) -> None:
    """Digests, UUIDs, paths, names and rules are no secrets."""
    assert redact_text(f"value {text} end") == (f"value {text} end", ())


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
        ("lr", FORMS["GitHub token"], REDACTED),
        ("hf_token", "${HF_TOKEN}", "${HF_TOKEN}"),
        ("config", {"db": {"password": "x", "port": 1}}, {"db": {"password": REDACTED, "port": 1}}),
        ("credentials", {"user": "ann", "n": [1, "x"]}, {"user": REDACTED, "n": [1, REDACTED]}),
        ("auth", ("ann", "x"), (REDACTED, REDACTED)),
        ("auth", {"type": "basic", "password": "x"}, {"type": "basic", "password": REDACTED}),
        ("api_keys", ["a", "b"], [REDACTED, REDACTED]),
        ("argv", ["--token", "x", 1], ["--token", REDACTED, 1]),
        ("items", {FORMS["GitHub token"]: 1}, {REDACTED: 1}),
        ("secret", b"abc", REDACTED),
        ("weights", b"abc", b"abc"),
    ],
)
def test_values(name: str, value: Any, redacted: Any) -> None:
    """A value loses its secrets by its name and by the names inside it; numbers stay unless they are passwords."""
    got = redact_value(name, value)

    assert got == redacted
    assert (got is value) == (value == redacted)


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
    }
    read = decode(redact_value("params", encode(value)))

    assert read["login"] == {"user": "ann", "password": REDACTED, "pad_token": "<pad>"}
    assert read["space"] == {"token": REDACTED, "n": 2**70}
    assert read["map"] == {1: "a", "b": {"secret": REDACTED}, ("api_key",): 1}
    assert (read["path"], read["raw"]) == (value["path"], value["raw"])
    assert (read["password"], read["secret"], read["odd"]) == (REDACTED,) * 3
    assert read["pair"] == ("--token", REDACTED)


@given(
    st.text(max_size=60)
    | st.from_regex(r"(token|api_key|--password)[=: ]['\"(\[]?[a-z0-9,;\])'\"]{0,9}", fullmatch=True)
)
def test_again_changes_nothing(text: str) -> None:
    """What was redacted once is not redacted again, and every replacement is counted."""
    redacted, hits = redact_text(text)

    assert (redacted != text) == bool(hits)
    assert redact_text(redacted) == (redacted, ())


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a=" * 100_000,
        "password=" * 20_000,
        "://" * 60_000,
        "://a:" * 40_000,
        "-----BEGIN RSA PRIVATE " + "KEY-----" * 20_000,
        "eyJ" * 60_000,
        "sk-" * 60_000,
        'token="\\' * 20_000,
        "A1b-" * 50_000,
        " " * 200_000 + "token",
        "token" + " " * 200_000,
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("code", [False, True])
def test_hostile_text(text: str, code: bool) -> None:
    """No text makes redaction slow: its time grows with the length, not faster."""
    started = time.process_time()
    redact_text(text, code=code)

    assert time.process_time() - started < 3
