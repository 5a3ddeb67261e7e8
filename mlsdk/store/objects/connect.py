"""From a URI to a bucket."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mlsdk.errors import StoreError
from mlsdk.store.objects.bucket import Bucket

_OPTIONS = ("endpoint", "region", "path_style", "account")
_KINDS = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}


def connect(uri: str) -> tuple[Bucket, str]:
    """(The bucket that a URI names, which server it is on). Credentials come from the environment alone.

    Raises:
        StoreError: the URI cannot be understood, or a secret stands in it; or obstore is missing.
    """
    try:
        import obstore.store
    except ModuleNotFoundError as error:
        raise StoreError(f"{uri} needs obstore, which is not installed: pip install 'mlsdk[s3]'") from error
    scheme, name, prefix, options = _parts(uri)
    endpoint = options.get("endpoint", "")
    config: dict[str, Any] = {
        "prefix": prefix or None,
        "client_options": {"connect_timeout": "5s", "timeout": "120s", "allow_http": endpoint.startswith("http:")},
        "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=15)},
    }
    if scheme == "s3":
        config.update(_s3(options))
        endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        config["client_options"]["allow_http"] = endpoint.startswith("http:")
    elif scheme == "gs" and endpoint:
        config["base_url"] = endpoint
    elif scheme == "az":
        config.update({key: options[key] for key in ("endpoint",) if key in options})
        config.update({"account_name": options["account"]} if "account" in options else {})
    try:
        store = getattr(obstore.store, _KINDS[scheme])(name, **config)
    except Exception as error:  # its errors have no common class: whatever is wrong, it is about this URI
        raise StoreError(f"{uri} cannot be opened: {str(error).partition('Debug source')[0].strip()}") from error
    return Bucket(store, uri), f"{scheme}:{endpoint}"


def _parts(uri: str) -> tuple[str, str, str, dict[str, str]]:
    """(Scheme, bucket, prefix, options) of a URI."""
    parts = urlsplit(uri)
    if parts.username or parts.password:
        shown = uri.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)
        raise StoreError(
            f"{shown} was given with a name or a password in it: set AWS_ACCESS_KEY_ID and the like instead"
        )
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    strange = sorted(set(options) - set(_OPTIONS))
    if strange:
        raise StoreError(
            f"{uri.partition('?')[0]} was given with {', '.join(strange)}, of which it knows nothing: its options are"
            f" {', '.join(_OPTIONS)}; secrets belong into the environment"
        )
    if not parts.netloc:
        raise StoreError(f"{uri!r} names no bucket: {parts.scheme}://bucket/folder")
    return parts.scheme, parts.netloc, parts.path.strip("/"), options


def _s3(options: dict[str, str]) -> dict[str, Any]:
    """Options of an S3 store."""
    config: dict[str, Any] = {}
    if "endpoint" in options:
        config["endpoint"] = options["endpoint"]
    region = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if "path_style" in options:
        config["virtual_hosted_style_request"] = options["path_style"] in ("0", "false", "no")
    told = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if not any(os.environ.get(variable) for variable in (*told, "AWS_CONTAINER_CREDENTIALS_FULL_URI")):
        config.update(_of_profile())
    config["region"] = region or config.get("region") or "us-east-1"
    return config


def _of_profile() -> dict[str, Any]:
    """Credentials from `~/.aws`, which obstore reads through boto3; none where either is missing."""
    files = [os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), "~/.aws/config"]
    if not any(os.path.exists(os.path.expanduser(file)) for file in files):
        return {}
    try:
        from boto3.session import Session  # type: ignore[import-untyped]
        from obstore.auth.boto3 import Boto3CredentialProvider

        session = Session()
        if session.get_credentials() is None:
            return {}
        return {"credential_provider": Boto3CredentialProvider(session), "region": session.region_name}
    except Exception:  # boto3 is not installed, or its profile is not right: obstore says what it misses
        return {}
