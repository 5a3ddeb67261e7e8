"""Repositories made for tests and benchmarks: a user's git, and working trees of a given size."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path


def git(*arguments: str, folder: Path | None = None) -> str:
    """Run git as a user would, with no settings but those of the repository."""
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "HOME": str(Path.cwd())}
    who = ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env={**os.environ, **settings},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


_WORDS = (
    "model batch loss train rate layer weight epoch state shape config value index tensor score result cache split"
).split()


def source(chance: random.Random, lines: int) -> str:
    """Python that nobody has written before, so that packing it costs what code costs."""

    def name() -> str:
        return f"{chance.choice(_WORDS)}_{chance.choice(_WORDS)}"

    parts = ['"""Made for a benchmark."""\n']
    for _ in range(lines // 4):
        body = f"    {name()} = {name()}[{chance.randrange(100)}] * {chance.random():.3f}  # {name()} of {name()}\n"
        parts.append(f"\n\ndef {name()}({name()}, {name()}={chance.randrange(9)}):\n{body}    return {name()}\n")
    return "".join(parts)


def make_tree(folder: Path, files: int, *, lines: int = 60, seed: int = 1) -> Path:
    """A repository with one commit of so many Python files of about 3 KB, in folders of 50."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(files):
        if number % 50 == 0:
            inside = folder / f"package_{number // 2500}" / f"part_{number // 50}"
            inside.mkdir(parents=True)
        (inside / f"module_{number}.py").write_text(source(chance, lines), "utf-8")
    git("init", "-q", "-b", "main", ".", folder=folder)
    git("add", ".", folder=folder)
    git("commit", "-qm", "made", folder=folder)
    return folder
