"""Names promise a secret or only look as if they did."""

from __future__ import annotations

import pytest

from mlsdk.capture.secrets.redaction import is_secret_name


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
