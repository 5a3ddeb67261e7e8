"""Secrets of every kind, planted in every place that a run records from, are in no byte of its store."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random, SystemRandom

import mlsdk
from mlsdk.log.seal import unseal
from tests import canaries, programs
from tests.conftest import require

PLACES = (
    "params tags note argv environment allowed committed changed untracked settings notebook cell remote stdout stderr "
    "message traceback dataset experiment pyproject capture failing constants opened command"
).split()
GRAM = 12
"""Letters of a secret that are a leak if they are found in a row."""

PROGRAM = """
import json, os, sys
plants = json.load(open(os.environ["PLANTS"]))
os.unlink(os.environ["PLANTS"])
import helper
In, get_ipython = ["", *plants["cell"]], lambda: None

CONSTANTS = plants["constants"]

def use(run, *, more=CONSTANTS[0]):
    return CONSTANTS, more, helper.TOKENS, helper.f0

def found(where):
    return {"seen": plants["capture"], "config": {f"k{n}": one for n, one in enumerate(plants["capture"])}}

def failing(where):
    raise RuntimeError("cannot connect: " + " and ".join(plants["failing"]))

from mlsdk.capture import BUILT_IN
nested = {"list": plants["params"][:20], "deep": {"er": {f"k{n}": one for n, one in enumerate(plants["params"][20:])}}}
try:
    with mlsdk.run(
        name="canary",
        experiment=plants["experiment"][0],
        params={**nested, "db_password": plants["params"][0]},
        tags={f"t{n}": one for n, one in enumerate(plants["tags"])},
        capture=[*BUILT_IN, found, failing],
    ) as run:
        run.note("; ".join(plants["note"]))
        for one in plants["stdout"]:
            print("connecting with", one)
        for one in plants["stderr"]:
            print("using", one, file=sys.stderr)
        for one in plants["dataset"]:
            open(f"data-{one}.csv", "w").write("a,b\\n1,2\\n")
            run.use_data(f"data-{one}.csv", name=f"set-{one}")
        for one in plants["opened"]:
            open(f"in-{one}.txt").read()
        run.log(loss=0.5)
        use(run)
        helper.f0(plants["message"])
except ValueError:
    pass
"""


def plant(seed: int) -> dict[str, list[tuple[str, str]]]:
    """By place, 60 texts with a secret in each: both."""
    return {place: list(_sixty(Random(f"{seed} {place}"))) for place in PLACES}


def _sixty(chance: Random) -> Iterator[tuple[str, str]]:
    for _ in range(2):
        yield from ((token, token) for token in canaries.tokens(chance).values())
    for text in canaries.named(chance).values():
        secret = canaries.noise(chance, 40)
        yield text.replace("CANARY", secret), secret
    for kind in ("RSA", "EC", "OPENSSH", "PGP", ""):
        key = canaries.key_block(chance, kind)
        yield key, key
    account = canaries.service_account(chance)
    yield account, json.loads(account)["private_key"]


def words_of(texts: Iterable[str]) -> list[str]:
    """Those that can be part of a file's name."""
    return [text for text in texts if re.fullmatch(r"[\w.-]+", text)]


def in_code(texts: Iterable[str]) -> str:
    """Python that says them: tokens as they are, passwords under names."""
    lines = [f"X{number} = {text!r}" for number, text in enumerate(texts)]
    return "\n".join([*lines, *(f"if 0: db_password = {password_for(text)!r}" for text in texts), ""])


def password_for(text: str) -> str:
    """A password that goes with a text."""
    return canaries.noise(Random(text), 24)


def grams_of(secrets: Iterable[str]) -> set[bytes]:
    """All that may not be found of some secrets: pieces of them, of their base64 and of their hexadecimal form."""
    found = set()
    for secret in secrets:
        for line in secret.split("\n"):
            raw = line.encode()
            forms = [raw, raw.hex().encode(), *(base64.b64encode(b"   "[:shift] + raw)[4:-4] for shift in range(3))]
            found |= {form[at : at + GRAM] for form in forms for at in range(len(form) - GRAM + 1)}
    return found


def contents(store: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a store, sealed logs unsealed, and whatever is compressed in a file decompressed."""
    for path in sorted(store.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        name = str(path.relative_to(store))
        yield name, data
        if path.suffix == ".seal":
            yield f"{name} unsealed", unseal(data)
        for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
            inflate = zlib.decompressobj()
            try:
                plain = inflate.decompress(data[start.start() :])
            except zlib.error:
                continue
            yield f"{name} at {start.start()}", plain


def leaks(store: Path, secrets: dict[str, list[str]], others: dict[str, list[str]]) -> list[tuple[str, str, str]]:
    """Where in a store a piece of a secret is found: file, place that it was planted in, what surrounds it."""
    common = grams_of(secret for place in others.values() for secret in place)
    place_of = {gram: place for place, planted in secrets.items() for gram in grams_of(planted) - common}
    found = {}
    for name, data in contents(store):
        for run in re.finditer(rb"[^\x00-\x20\"'\\]{%d,}" % GRAM, data):
            text = run[0]
            for at in range(len(text) - GRAM + 1):
                if (place := place_of.get(text[at : at + GRAM])) is not None:
                    around = data[max(0, run.start() + at - 60) : run.start() + at + 30]
                    found.setdefault((name, place), around.decode("utf-8", "replace"))
    return [(*key, around) for key, around in sorted(found.items())]


def git(*arguments: str) -> None:
    """Run git here."""
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True, capture_output=True)


def project(plants: dict[str, list[str]]) -> None:
    """A repository with secrets in what is committed, changed, untracked, set, noted and linked."""
    lines = plants["traceback"]
    calls = [f"def f{n}(words, _=0):\n    f{n + 1}(words, {one!r})\n" for n, one in enumerate(lines)]
    end = f"def f{len(lines)}(words, _):\n    raise ValueError(words)\n"
    Path("helper.py").write_text(
        "".join([f"TOKENS = {plants['constants']!r}\npassword = {password_for('helper')!r}\n", *calls, end])
    )
    for word in words_of(plants["opened"]):
        Path(f"in-{word}.txt").write_text("x")
    Path("committed.py").write_text(in_code(plants["committed"]))
    Path("changed.py").write_text("a = 1\n")
    Path("pyproject.toml").write_text(
        "[tool.other]\n" + "\n".join(f"k{n} = {json.dumps(one)}" for n, one in enumerate(plants["pyproject"])) + "\n"
    )
    Path(".gitignore").write_text(".mlsdk/\ndata-*\nin-*\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    git("remote", "add", "origin", f"https://ann:{words_of(plants['remote'])[0]}@h.example.org/x.git")
    git("remote", "add", "other", f"https://{words_of(plants['remote'])[3]}@h.example.org/x.git")
    Path("changed.py").write_text("a = 1\n" + in_code(plants["changed"]))
    Path("untracked.py").write_text(in_code(plants["untracked"]))
    Path(".env").write_text("".join(f"K{n}={one!r}\n" for n, one in enumerate(plants["untracked"])))
    Path("id_rsa").write_text(plants["untracked"][-2])
    ways = [way.replace("CANARY", password_for(way)) for way in canaries.SETTINGS.values()]
    Path("settings.yaml").write_text("\n".join([*ways, *plants["settings"]]))
    Path("ways.py").write_text("\n\n".join(way.replace("CANARY", password_for(way)) for way in canaries.CODE.values()))
    cells = [{"cell_type": "code", "source": [f"x = {one!r}\n"]} for one in plants["notebook"]]
    Path("notebook.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))


def record(plants: dict[str, list[str]], hidden: dict[str, str], word: str) -> Path:
    """Run the program, and another as `-c`, with all captures; the folder of the store once everything is done."""
    Path("cache").mkdir()
    told = Path("cache/plants.json").resolve()
    names = {place: words_of(plants[place]) for place in ("dataset", "opened", "experiment")}
    told.write_text(json.dumps({**plants, **names}))
    variables = {f"CANARY_{n}": one for n, one in enumerate(plants["environment"])}
    variables |= {f"OMP_{n}": one for n, one in enumerate(plants["allowed"])}
    options = [part for n, one in enumerate(plants["argv"]) for part in (f"--option-{n}", one)]
    command = "import mlsdk\n" + in_code(plants["command"]) + "with mlsdk.run(name=X0): pass\n"
    for started in (
        [str(programs.program(PROGRAM)), *options, "--password", word, f"api_key={word}"],
        ["-c", command],
    ):
        done = subprocess.run(
            [sys.executable, *started],
            env=programs.environment(**variables, **hidden, PLANTS=str(told)),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    store = Path(".mlsdk").resolve()
    assert programs.eventually(lambda: not os.listdir(store / "open") and not programs.companions(store), within_s=60)
    return store


def test_no_secret_in_any_byte_of_the_store() -> None:
    """Sixty secrets of more than twenty kinds in every place: no piece of one is kept, in whatever form.

    Nor is a piece of an environment variable that is not on the list, however harmless.
    """
    require(shutil.which("git"), "git")
    seed = SystemRandom().getrandbits(32)
    planted = plant(seed)
    plants = {place: [text for text, _ in both] for place, both in planted.items()}
    secrets = {place: [secret for _, secret in both] for place, both in planted.items()}
    others = {place: [secret for _, secret in both] for place, both in plant(seed + 1).items()}
    hidden = {f"PLAIN_{n}": canaries.noise(Random(n), 30) for n in range(10)}
    for place in ("committed", "changed", "untracked", "command"):
        secrets[place] += map(password_for, plants[place])
    ways = [*canaries.SETTINGS.values(), *canaries.CODE.values()]
    word = canaries.noise(Random(seed), 20)
    secrets["words"] = [word, *map(password_for, ["helper", *ways]), *hidden.values()]
    project(plants)
    store = record(plants, hidden, word)
    run = mlsdk.get_run("canary")
    found = leaks(store, secrets, others)

    assert all(len(set(texts)) == 60 for texts in plants.values())
    assert run.status == "failed"
    assert run.code["tree"]
    assert {"helper.py", "ways.py", "settings.yaml", "notebook.ipynb", "changed.py"} <= set(run.code["redacted"])
    assert {".env", "id_rsa"} <= {one["path"] for one in run.code["left_out"]}
    assert run.environment["found"]
    assert "[redacted]" in str(run.error)
    assert found == [], "\n".join(map(str, found))
