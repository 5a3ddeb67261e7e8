"""Installed distributions made for tests: folders as installers leave them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path


def digest(data: bytes) -> str:
    """A file's digest as RECORD has it."""
    return "sha256=" + urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def install(
    site: Path,
    name: str,
    version: str = "1.0",
    *,
    files: dict[str, str] | None = None,
    direct_url: dict[str, object] | str | None = None,
    extra: tuple[str, ...] = (),
) -> Path:
    """Put a distribution into a folder of packages; its `.dist-info`.

    Args:
        site: the folder.
        name: as it stands in the folder's name.
        version: of it.
        files: content by path; by default one module of the distribution's name.
        direct_url: content of `direct_url.json`.
        extra: further lines of RECORD, as installers write them.
    """
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    files = {f"{name}.py": "x = 1\n"} if files is None else files
    metadata = f"{info.name}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    lines = []
    for path, text in (*files.items(), metadata):
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text, newline="")
        lines.append(f"{path},{digest(text.encode())},{len(text)}")
    if direct_url is not None:
        text = direct_url if isinstance(direct_url, str) else json.dumps(direct_url)
        (info / "direct_url.json").write_text(text)
    (info / "RECORD").write_text("\n".join([*lines, *extra, f"{info.name}/RECORD,,"]) + "\n")
    return info


def many(site: Path, count: int) -> dict[str, str]:
    """Put many distributions into a folder; their versions by name."""
    names = {f"package-{number}": f"{number % 7}.{number}.post1" for number in range(count)}
    for name, version in names.items():
        install(site, name.replace("-", "_"), version)
    return names
