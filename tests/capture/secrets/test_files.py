"""Files that are secrets are known, and source files lose their secrets and nothing else."""

from __future__ import annotations

import codecs
import random
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.capture.secrets.files import is_secret_file, redact_source
from mlsdk.capture.secrets.redaction import REDACTED, redact_text
from tests import canaries

CHANCE = random.Random(11)
TOKEN = canaries.tokens(CHANCE)["GitHub classic"]
KEY = canaries.key_block(CHANCE, "RSA")
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SPANS_IN_10_000_LINES = 1.0


@pytest.mark.parametrize(
    "path",
    ".env .env.local deploy/.env.production prod.env server.pem tls/server.key id_rsa .ssh/id_ed25519 id_ecdsa.bak "
    "store.pfx store.p12 my.jks app.keystore a.kdbx a.ppk .netrc _netrc .pypirc .pgpass .htpasswd .git-credentials "
    "credentials.json client_secret_123.json service-account-x.json service_account.json kubeconfig .kube/config "
    ".aws/credentials home\\.aws\\credentials .docker/config.json kaggle.json .streamlit/secrets.toml secrets.yaml "
    "terraform.tfstate".split(),
)
def test_secret_by_name(path: str) -> None:
    """Files that hold nothing but secrets by their name."""
    assert is_secret_file(path, b"")


@pytest.mark.parametrize(
    ("path", "head"),
    [
        ("notes", KEY.encode()),
        ("notes", b"\n" + canaries.key_block(CHANCE, "PGP").encode()),
        ("server.pem", CERTIFICATE + KEY.encode()),
        ("a.json", canaries.service_account(CHANCE).encode()),
        ("a.json", b'{"client_id": "x", "client_secret": "y", "refresh_token": "z", "type": "authorized_user"}'),
        ("config", b"apiVersion: v1\nkind: Config\nusers:\n- user:\n    client-key-data: abc\n"),
        (".npmrc", b"//registry.example.org/:_authToken=abc\n"),
        ("keys.csv", b"\xef\xbb\xbfAccess key ID,Secret access key\nA,B\n"),
        ("store", b"\xfe\xed\xfe\xed\0\0\0\2"),
    ],
)
def test_secret_by_content(path: str, head: bytes) -> None:
    """Files that are secrets whatever they are called."""
    assert is_secret_file(path, head)


@pytest.mark.parametrize(
    ("path", "head"),
    [
        (".env.example", b"A="),
        (".env.template", b"A="),
        ("id_rsa.pub", b"ssh-rsa AAAA"),
        ("ca.pem", CERTIFICATE),
        ("ca.pem", b"# Subject: a-b\n" + CERTIFICATE),
        ("ca.pem", b"Certificate:\n    Data:\n"),
        ("public.pem", b"-----BEGIN PUBLIC KEY-----\nMIIB"),
        ("slides.key", b"PK\x03\x04"),
        (".npmrc", b"//registry.example.org/:_authToken=${NPM_TOKEN}\n"),
        ("secrets.py", b"import random"),
        ("credentials.py", b"import os"),
        ("environment.yml", b"name: x"),
        ("train.py", b"import torch"),
        ("keys.csv", b"key,value\n"),
        ("tokenizer.json", b'{"version": "1.0"}'),
        ("config.json", b"{}"),
        ("README.md", b"how to make a -----BEGIN RSA PRIVATE " + b"KEY-----"),
    ],
)
def test_no_secret_file(path: str, head: bytes) -> None:
    """Examples, public keys, certificates and sources about secrets are none."""
    assert is_secret_file(path, head) is None


def source_of(text: str, *, ends: str = "\n") -> str:
    """A source file with a text in the middle of others."""
    return ends.join(["import os", "", "def f(key, value):", "    pass  # ordinary", "", text, "", "x = 'token'", ""])


@pytest.mark.parametrize("name", canaries.CODE)
def test_code_keeps_every_other_byte(name: str) -> None:
    """Of a source file the secret's own span changes, and no byte before or behind it, nor a line end."""
    secret = canaries.noise(CHANCE, 30)
    for ends in ("\n", "\r\n"):
        text = canaries.CODE[name].replace("\n", ends)
        data = source_of(text.replace("CANARY", secret), ends=ends).encode()
        redacted, count = redact_source(data, "src/x.py")

        before, after = source_of("\0", ends=ends).encode().split(b"\0")
        assert count > 0
        assert secret.encode() not in redacted
        assert redacted.startswith(before)
        assert redacted.endswith(after)
        assert redacted.count(ends.encode()) == data.count(ends.encode())


@pytest.mark.parametrize("name", canaries.SETTINGS)
def test_settings_need_no_quotes(name: str) -> None:
    """In files of settings values without quotes are seen; the same text in code stays, unless it is quoted."""
    text = canaries.SETTINGS[name]
    data = text.replace("CANARY", "hunter2x").encode()

    assert redact_source(data, "a/settings.yaml") == (text.replace("CANARY", REDACTED).encode(), 1)
    assert redact_source(data, "Dockerfile")[1] == 1
    assert (redact_source(data, "x.py")[1] == 1) == ('"' in text or "'" in text)


@pytest.mark.parametrize("name", canaries.tokens(CHANCE))
def test_tokens_in_files(name: str) -> None:
    """A token of a known form goes from every file, whatever its ending."""
    token = canaries.tokens(CHANCE)[name]
    data = source_of(f"use({token!r})").encode()
    for path in ("x.py", "x.json", "x.md", "x"):
        assert redact_source(data, path) == (source_of(f"use('{REDACTED}')").encode(), 1)


def test_settings_of_models_stay() -> None:
    """The special words of a tokenizer and the shapes of a model are no secrets."""
    names = "bos_token eos_token boi_token image_token eop_token vision_start_token".split()
    words = ["<s>", "<|endoftext|>", "<start_of_image>", "[IMG]", "[eop]", "</s>"]
    lines = [f'"{name}": "{word}"' for name, word in zip(names, words, strict=True)]
    data = ("{" + ",\n".join([*lines, '"num_key_value_heads": 8', '"use_auth_token": null'])).encode()

    assert redact_source(data, "tokenizer_config.json") == (data, 0)


def test_keys_keep_lines() -> None:
    """A private key in a source file goes whole, and the lines behind it keep their numbers."""
    data = source_of(f'key = """{KEY}"""').encode()
    redacted, count = redact_source(data, "x.py")

    assert count == 1
    assert redacted.count(b"\n") == data.count(b"\n")
    assert not any(line.encode() in redacted for line in KEY.split("\n")[1:-1])
    assert redacted.endswith(b"x = 'token'\n")


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_utf16(coding: str) -> None:
    """A file as Windows writes it keeps its encoding and its mark."""
    mark = codecs.BOM_UTF16_LE if coding == "utf-16-le" else codecs.BOM_UTF16_BE
    data = mark + "é = 1\r\npassword = 'hunter2'\r\n".encode(coding)

    assert redact_source(data, "x.py") == (mark + f"é = 1\r\npassword = '{REDACTED}'\r\n".encode(coding), 1)
    assert redact_source(mark + b"\0\xd8\0", "x.py")[1] == 0


def test_bytes_that_are_no_text() -> None:
    """What is no UTF-8 comes back as it was; a binary file is looked through for private keys only."""
    latin = b"# \xe9\xff\x80\npassword = 'h\xe9hunter2'\n# \xe9\n"
    binary = b"\x89PNG\r\n\0\0 password = 'hunter2' " + TOKEN.encode()
    with_key = binary + KEY.encode() + b"\0\xff"

    assert redact_source(latin, "x.py") == (b"# \xe9\xff\x80\npassword = '[redacted]'\n# \xe9\n", 1)
    assert redact_source(binary, "x.png") == (binary, 0)
    assert redact_source(with_key, "x.bin")[0] == binary + REDACTED.encode() + b"\n" * KEY.count("\n") + b"\0\xff"


@given(st.binary(max_size=300))
def test_nothing_found_is_the_same_object(data: bytes) -> None:
    """A file without a secret comes back itself."""
    redacted, count = redact_source(data, "x.py")

    assert (redacted is data) == (count == 0)


PIECES = [*canaries.CODE.values(), *canaries.tokens(CHANCE).values(), *canaries.named(CHANCE).values()]


@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=30), max_size=12),
    st.sampled_from(["\n", "\r\n", "\n\n\n\n\n\n", " "]),
    st.binary(max_size=8),
)
def test_a_quick_look_misses_nothing(pieces: list[str], between: str, noise: bytes) -> None:
    """The quick look over a file finds the same as looking closely at all of it."""
    text = between.join(pieces).replace("CANARY", "aB3xyz9aB3xyz9aB3xyz9")
    data = noise.replace(b"\0", b"") + b"\n" + text.encode("utf-8", "ignore").replace(b"\0", b"")
    slow, hits = redact_text(data.decode("utf-8", "surrogateescape"), code=True)
    redacted, count = redact_source(data, "x.py")

    if not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        assert (redacted, count) == (slow.encode("utf-8", "surrogateescape"), len(hits))


def false_alarms(files: list[Path]) -> tuple[int, int, list[str]]:
    """Spans replaced in files, their lines, and files that would be lost as a whole."""
    spans = lines = 0
    lost = []
    for path in files:
        data = path.read_bytes()
        lines += data.count(b"\n")
        spans += redact_source(data, str(path))[1]
        if is_secret_file(path.name, data[:4096]):
            lost.append(str(path))
    return spans, lines, lost


@pytest.mark.slow
def test_false_alarms_in_the_standard_library() -> None:
    """Ordinary code loses less than a span in 10,000 lines, its tests of passwords among it, and no whole file."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    spans, lines, lost = false_alarms(files[::4])  # reading them takes longer than looking through them

    assert lines > 150_000
    assert spans / lines * 10_000 < SPANS_IN_10_000_LINES
    assert lost == []


@pytest.mark.slow
def test_false_alarms_in_scikit_learn() -> None:
    """A library of training code loses next to nothing."""
    import sklearn

    files = [path for path in Path(sklearn.__path__[0]).rglob("*") if path.suffix in {".py", ".pyx", ".pxd", ".rst"}]
    spans, lines, lost = false_alarms(sorted(files)[::4])

    assert lines > 50_000
    assert spans / lines * 10_000 < SPANS_IN_10_000_LINES
    assert lost == []


def test_false_alarms_here(root: Path) -> None:
    """The code of this package itself loses only its examples, and no file."""
    spans, lines, lost = false_alarms([*(root / "mlsdk").rglob("*.py")])

    assert spans <= lines / 1000
    assert lost == []
