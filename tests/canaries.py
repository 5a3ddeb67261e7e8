"""Secrets of every kind, made up at random and put together from parts, so that nothing here looks like a live one."""

from __future__ import annotations

import base64
import json
import string
from random import Random

LETTERS = string.ascii_letters + string.digits
HEX = string.digits + "abcdef"


def noise(chance: Random, length: int, letters: str = LETTERS) -> str:
    """Random letters, with a digit, a capital and a small letter among them where there are any."""
    wanted = [set(kind) & set(letters) for kind in (string.digits, string.ascii_uppercase, string.ascii_lowercase)]
    while True:
        made = "".join(chance.choices(letters, k=length))
        if all(not kind or kind & set(made) for kind in wanted):
            return made


def key_block(chance: Random, kind: str) -> str:
    """A private key of a kind (`RSA `), made of nothing."""
    body = base64.b64encode(chance.randbytes(300)).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    mark = f"{kind.strip() + ' ' if kind.strip() else ''}PRIVATE " + "KEY" + (" BLOCK" if "PGP" in kind else "")
    return f"-----BEGIN {mark}-----\n{lines}\n-----END {mark}-----"


def tokens(chance: Random) -> dict[str, str]:
    """By kind, one token each of those that are known by their form, wherever they stand."""
    upper = string.ascii_uppercase + "234567"
    return {
        "AWS access key id": "AK" + "IA" + noise(chance, 16, upper),
        "GitHub classic": "gh" + "p_" + noise(chance, 36),
        "GitHub app": "gh" + "s_" + noise(chance, 36),
        "GitHub fine-grained": "github" + "_pat_" + noise(chance, 22) + "_" + noise(chance, 59),
        "GitLab": "gl" + "pat-" + noise(chance, 20),
        "Slack token": "xo" + "xb-" + noise(chance, 12, string.digits) + "-" + noise(chance, 24),
        "Slack app": "xa" + "pp-1-" + noise(chance, 11, upper) + "-" + noise(chance, 64, HEX),
        "Stripe": "sk" + "_live_" + noise(chance, 24),
        "OpenAI": "sk" + "-proj-" + noise(chance, 48),
        "Anthropic": "sk" + "-ant-api03-" + noise(chance, 90),
        "Hugging Face": "hf" + "_" + noise(chance, 34),
        "Google API": "AI" + "za" + noise(chance, 35),
        "Google OAuth": "ya" + "29." + noise(chance, 60),
        "Google client secret": "GO" + "CSPX-" + noise(chance, 28),
        "Twilio": "S" + "K" + noise(chance, 32, HEX),
        "SendGrid": "S" + "G." + noise(chance, 22) + "." + noise(chance, 43),
        "npm": "np" + "m_" + noise(chance, 36),
        "PyPI": "py" + "pi-AgEIcHlwaS5vcmc" + noise(chance, 90),
        "Docker Hub": "dc" + "kr_pat_" + noise(chance, 27),
        "Databricks": "da" + "pi" + noise(chance, 32, HEX),
        "Groq": "gs" + "k_" + noise(chance, 52),
        "JWT": ".".join(("ey" + "J" + noise(chance, 33), noise(chance, 60), noise(chance, 43))),
    }


def named(chance: Random) -> dict[str, str]:
    """By kind, texts with a secret that is known by what stands before it; `CANARY` in them is where it goes."""
    host = f"h{noise(chance, 6, string.ascii_lowercase)}.example.org"
    return {
        "basic-auth URL": f"https://ann:CANARY@{host}/x",
        "database URL": f"postgresql+psycopg2://ann:CANARY@{host}:5432/db?sslmode=require",
        "redis URL": f"redis://:CANARY@{host}/0",
        "URL query": f"https://{host}/x?a=1&access_token=CANARY&b=2",
        "signed URL": f"https://{host}/x?X-Amz-Date=20260101&X-Amz-Signature=CANARY",
        "Slack webhook": "https://hooks.slack.com/services/CANARY",
        "bearer header": "Authorization: Bearer CANARY",
        "Azure storage": "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=CANARY==;EndpointSuffix=core",
        "connection string": "Server=tcp:x;Uid=ann;Pwd=CANARY;Encrypt=yes",
        "W&B login": "wandb login CANARY",
    }


CODE = {
    "Python literal": 'password = "CANARY"',
    "annotated": "api_key: str = 'CANARY'",
    "optional": "token: str | None = 'CANARY'",
    "bytes": "secret = b'CANARY'",
    "attribute": "self.config.db_password = 'CANARY'",
    "dict item": '{"user": "ann", "password": "CANARY"}',
    "subscript": "os.environ['HF_TOKEN'] = 'CANARY'",
    "keyword": "connect(user='ann', password='CANARY', port=1)",
    "comparison": "if password == 'CANARY':",
    "other comparison": "if 'CANARY' != user.password:",
    "walrus": "if (password := 'CANARY'):",
    "f-string": "password = f'{user}-CANARY'",
    "brackets": "password = (\n    'CANARY'\n)",
    "list": "api_keys = ['CANARY', 'CANARYb']",
    "tuple": "user, password = 'ann', 'CANARY'",
    "auth tuple": "requests.get(url, auth=('ann', 'CANARY'))",
    "concatenated": "api_key = 'CANARY' + 'CANARYb'",
    "default": "token = os.environ.get('TOKEN', 'CANARY')",
    "or": "token = get('x') or 'CANARY'",
    "wrapped": "password = SecretStr('CANARY')",
    "call": "os.environ.setdefault('API_KEY', 'CANARY')",
    "argument": "parser.add_argument('--password', default='CANARY')",
    "options": "subprocess.run(['x', '--password', 'CANARY'])",
    "name and value": '{"name": "DB_PASSWORD", "value": "CANARY"}',
    "attribute of a tag": '<add key="ApiKey" value="CANARY"/>',
    "setter": "user.set_password('CANARY')",
    "basic auth": "auth=HTTPBasicAuth('ann', 'CANARY')",
    "ternary": "password = given if given else 'CANARY'",
    "double brackets": "password = (('CANARY'))",
    "Go bytes": 'password := []byte("CANARY")',
    "login call": "wandb.login(key='CANARY')",
    "escaped": '"source": ["password = \\"CANARY\\"\\n"]',
    "triple": 'password = """CANARY"""',
    "JavaScript": "const apiKey = 'CANARY';",
    "Go": 'apiKey := "CANARY"',
    "comment": "# password = 'CANARY'",
}
"""Ways in which code says a secret under its name."""

SETTINGS = {
    "YAML": "db:\n  user: ann\n  password: CANARY\n",
    "YAML quoted": "password: 'CANARY'\n",
    "YAML block": "secret_key: |\n  CANARY\nuser: ann\n",
    "Kubernetes": "- name: API_TOKEN\n  value: CANARY\n",
    "JSON": '{"api_key": "CANARY"}',
    "TOML": 'password = "CANARY"\n',
    "INI": "[db]\nuser = ann\npassword = CANARY\n",
    "shell": "export API_TOKEN=CANARY\n",
    "shell command": "run.py --password CANARY --lr 0.1\n",
    "environment": "AWS_SECRET_ACCESS_KEY=CANARY\n",
    "Dockerfile": "ENV API_TOKEN CANARY\n",
    "properties": "spring.datasource.password=CANARY\n",
    "XML": "<user>ann</user><password>CANARY</password>",
    "curl": "curl -s -u ann:CANARY https://example.org\n",
    "sshpass": "sshpass -p CANARY ssh x\n",
    "mysql": "mysql -u root -pCANARY db\n",
    "netrc": "machine x.org login ann password CANARY\n",
}
"""Ways in which files of settings say one."""


def service_account(chance: Random) -> str:
    """The key of a Google service account."""
    key = key_block(chance, "").replace("\n", "\\n")
    fields = {"type": "service_account", "project_id": "x", "private_key_id": noise(chance, 40, HEX)}
    return json.dumps({**fields, "client_email": "x@y.iam"})[:-1] + f', "private_key": "{key}\\n"}}'
