r"""Forms that secrets have wherever they stand: `ghp_…`, a private key, a URL with a password.

Sources are the issuers' own descriptions and the rules of the scanners gitleaks and detect-secrets. Each form has a
needle, a piece that is in every secret of the form: a text without it need not be shown to the regular expression,
which costs twenty times as much; nor need one without a long word to those of long tokens.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

REDACTED = "[redacted]"

# a reference to a secret is none: `{password}`, `$PASSWORD`, `<password>`, `%(password)s`, `%s`
_REFERENCE = r"(?!\$?\{|\$(?:\(|(?:[A-Z_][A-Z0-9_]*|[a-z_]+)(?![A-Za-z0-9]))|<|%\(|%s|\[redacted|\*{3})"
# a word begins here, also behind an escaped line break (`\nghp_`), an encoded sign (`%20`) and a colour (`\x1b[1m`)
_WORD = r"(?P<keep>(?<![A-Za-z0-9])|(?<=\\[nrtbfv])|(?<=%[0-9A-Fa-f]{2})|(?<=[\d\[]m))"
_KEY_LINES = r"(?:(?:\s|\\[nr]|[\"'])*[A-Za-z0-9+/=]{16,})*"
_KEY_END = r"[\w+/=\s\\:,.\"'-]{0,20000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_QUERY = r"sig|[\w-]{0,40}[Ss]ignature|[\w.-]{0,40}(?:[Tt]oken|[Tt]icket|[Aa]pi_?-?[Kk]ey|[Ss]ecret|[Pp]assw(?:or)?d)"
FORMS = {
    "URL password": rf"(?P<keep>://)[^\s/:@\"'<>]*:{_REFERENCE}(?!(?i:pass(?:w(?:or)?d)?|pwd|secret|x{{3,}}|\.{{3}})@)"
    r"[^\s/\"'<>]+(?=@)",
    "URL token": r"(?P<keep>://)(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}(?=@)",
    "URL signature": rf"(?P<keep>[?&](?:{_QUERY})=){_REFERENCE}[^&\s\"'#<>]{{6,}}",
    "webhook": r"(?P<keep>(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks)/)[\w/-]{20,}",
    "bearer token": r"(?P<keep>\b[Bb]earer[ \t]+)(?=\S*\d)[A-Za-z0-9._~+/=-]{16,}",
    "curl user": r"(?P<keep>\bcurl\b[^\n]{0,400}[ \t](?:-u|--user)[ =]?[\"']?[^\s:\"']{1,80}:)"
    rf"{_REFERENCE}[^\s\"']+",
    "sshpass": rf"(?P<keep>\bsshpass[ \t]+-p[ \t]*[\"']?){_REFERENCE}[^\s\"']+",
    "mysql": rf"(?P<keep>\bmysql(?:dump|admin)?\b[^\n]{{0,400}}?[ \t]-p[\"']?){_REFERENCE}[^\s\"']+",
    "login": r"(?P<keep>\blogin(?:\([^()\n]{0,80}?[\"']|[ \t]+(?:-\S{1,40}[ \t]+){0,9}))"
    r"(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}",
    "netrc": r"(?P<keep>\bmachine[ \t]+\S{1,200}\s+login[ \t]+\S{1,200}\s+password[ \t]+)(?!\[redacted)\S+",
    "connection string": rf"(?P<keep>\b\w{{1,40}}=[^\s,;\"'=]{{1,200}}[; ][ \t]*(?:[Pp]assword|[Pp]wd|PWD|PASSWORD)=)"
    rf"{_REFERENCE}[^\s;,\"'()]+(?![\w(])",
    "Azure key": r"(?P<keep>(?:AccountKey|SharedAccessKey|SharedSecretValue)=)[A-Za-z0-9+/%]{20,}={0,2}",
    "OpenAI or Anthropic key": _WORD + r"sk-(?=[A-Za-z_-]{0,80}\d)[A-Za-z0-9_-]{20,}",
    "Stripe key": _WORD + r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "Hugging Face token": _WORD + r"hf_[A-Za-z0-9]{20,}",
    "GitHub token": _WORD + r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
    "GitLab token": _WORD + r"gl(?:pat|ptt|dt|rt|soat|agent|cbt)-[A-Za-z0-9_-]{20,}",
    "Slack token": _WORD + r"(?:xox[abceoprs]|xapp)-[A-Za-z0-9_-]{15,}",
    "Google key": _WORD + r"AIza[A-Za-z0-9_-]{35,}",
    "Google token": _WORD + r"ya29\.[A-Za-z0-9_-]{20,}",
    "Google client secret": _WORD + r"GOCSPX-[A-Za-z0-9_-]{20,}",
    "AWS key": _WORD + r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "AWS secret": r"(?P<keep>(?<![A-Za-z0-9/+_-]))(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])(?=[A-Za-z/+]*\d)"
    r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
    "SendGrid key": _WORD + r"SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{30,}",
    "Twilio key": _WORD + r"SK[0-9a-f]{32}(?![A-Za-z0-9])",
    "npm token": _WORD + r"npm_[A-Za-z0-9]{30,}",
    "PyPI token": _WORD + r"pypi-[A-Za-z0-9_-]{40,}",
    "Docker token": _WORD + r"dckr_[po]at_[A-Za-z0-9_-]{20,}",
    "Databricks token": _WORD + r"dapi[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])",
    "Groq key": _WORD + r"gsk_[A-Za-z0-9]{40,}",
    "W&B key": _WORD + r"wandb_v1_[A-Za-z0-9_-]{20,}",
    "age key": _WORD + r"AGE-SECRET-KEY-1[A-Z0-9]{40,}",
    "JWT": _WORD + r"eyJ[A-Za-z0-9_-]{17,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
    "private key": rf"(?P<keep>)-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----(?:{_KEY_END}|{_KEY_LINES})",
}

NEEDLES = (
    ("://", "URL password"),
    ("://", "URL token"),
    ("PRIVATE KEY", "private key"),
    ("earer ", "bearer token"),
)
NEEDLES_OF_COMMANDS = (("curl ", "curl user"), ("machine ", "netrc"), ("sshpass", "sshpass"), ("mysql", "mysql"))
"""Not looked for in code."""
NEEDLES_OF_ASSIGNED = (
    ("?", "URL signature"),
    ("&", "URL signature"),
    ("assword=", "connection string"),
    ("wd=", "connection string"),
    ("WORD=", "connection string"),
    ("WD=", "connection string"),
    ("Key=", "Azure key"),
    ("SharedSecretValue=", "Azure key"),
)
"""Looked for where there is a `=`."""
LONG_WORD = 20
"""Letters of the shortest word that is a token; shorter ones need a name to be known by."""
TOKENS = (
    ("sk-", "OpenAI or Anthropic key"),
    ("k_live_", "Stripe key"),
    ("k_test_", "Stripe key"),
    ("hf_", "Hugging Face token"),
    *((f"gh{kind}_", "GitHub token") for kind in "pousr"),
    ("github_pat_", "GitHub token"),
    *((f"gl{kind}-", "GitLab token") for kind in ("pat", "ptt", "dt", "rt", "soat", "agent", "cbt")),
    ("xox", "Slack token"),
    ("xapp-", "Slack token"),
    ("AIza", "Google key"),
    ("ya29.", "Google token"),
    ("GOCSPX-", "Google client secret"),
    ("AKIA", "AWS key"),
    ("ASIA", "AWS key"),
    ("SG.", "SendGrid key"),
    ("SK", "Twilio key"),
    ("npm_", "npm token"),
    ("pypi-", "PyPI token"),
    ("dckr_", "Docker token"),
    ("dapi", "Databricks token"),
    ("gsk_", "Groq key"),
    ("wandb_v1_", "W&B key"),
    ("AGE-SECRET-KEY-", "age key"),
    ("eyJ", "JWT"),
)
"""Needles of secrets that are one long word; at most eight letters before it belong to them too (`Bearer `)."""
NEEDLES_OF_LONG = (
    ("hooks.slack", "webhook"),
    ("/webhooks/", "webhook"),
    ("login ", "login"),
    ("login(", "login"),
    *TOKENS,
)
"""Looked for where there is a long word."""

# Around and under the names of secrets.
_QUOTED = r"\"((?:[^\"\\\n]|\\.){1,4000})\"|'((?:[^'\\\n]|\\.){1,4000})'"
FORMS |= {
    # an option and a space, or a name and a sign of assignment
    "name": r"(?<![\w.-])(?:(?:--?|(?:ENV|setenv)[ \t]+)([A-Za-z][\w.-]{0,200})[ \t]+(?=[^\s=:-])"
    r"|([A-Za-z_-][\w.-]{0,200})(?:\\{0,3}[\"'])?\]?[ \t]*(?::=|=>|={1,3}|!={1,2}|:)[ \t]*)",
    "assigned": r"[\w.-]{0,200}(?:\\{0,3}[\"'])?\]?[ \t]*(?:!?[:=]|>[^<\s])|[\w.-]{0,200}[\"'][ \t]*,"
    r"|\w{0,200}\([ \t]*[\"']",
    # what may stand between the sign and the quotes: a type, a bracket, where else it may come from
    "before": r"(?:&?(?:'static )?[\w.]{0,40}"
    r"(?:[sS]tr|bytes|[sS]tring|Any|Optional|Annotated|Final|Literal|ClassVar|Union|Secret\w{0,9})"
    r"\b[\w.\[\], |]{0,80}=[ \t]*)?"
    r"(?:(?:(?:os\.)?(?:environ\.get|getenv)\([^,()\n]{1,80},|[\w.]{1,80}(?:\([^()\n]{0,80}\))?[ \t]+or\b"
    r"|[\w.]{1,80}[ \t]+if[ \t][^\"'\n]{1,80}[ \t]else\b|\[\]byte\("
    r"|(?:[\w.]{0,40}\.)?(?:Secret\w{0,20}|str|bytes|b64decode)\()[ \t]*)?((?:[(\[]\s{0,100}){1,3})?",
    "quoted": r"[rRbBuUfF]{0,2}(?:\"\"\"([^\"\n]{1,400})\"\"\"|'''([^'\n]{1,400})'''"
    rf"|\\{{1,3}}\"([^\"\\\n]{{1,4000}})\\{{1,3}}\"|\\{{1,3}}'([^'\\\n]{{1,4000}})\\{{1,3}}'|{_QUOTED})",
    "and": r"[ \t]*\+?[ \t]*(?=[rRbBuUfF]{0,2}\\{0,3}[\"'])",
    "and in brackets": r"\s{0,100}[,+]?\s{0,100}(?=[rRbBuUfF]{0,2}\\{0,3}[\"'])",
    "bare": r"(?:(?:[Bb]earer|[Bb]asic|[Tt]oken|[Dd]igest)[ \t]+)?(?:[bBrRuU]{1,2}(?=[\"']))?"
    r"[\\\"'\[({]{0,9}([^\s\"'\\&,;)}\]]{1,8000}(?:(?![,;]\s?[\w.-]{1,80}=)[,;)}\]]{1,9}[^\s\"'\\&,;)}\]]{1,200}){0,20})",
    # a call: `setenv("API_KEY", "…")`, `add_argument("--token", default="…")`
    "call": r"\b(?:\w{0,40}(?:[sS]et|[pP]ut|[gG]et)\w{0,40}|add_argument|add_option|option|\w{0,40}[hH]eader\w{0,20})\("
    r"\s{0,40}(?:[\w.]{1,80}[ \t]*,\s{0,40})?[\"']-{0,2}([\w.-]{1,200})[\"'][ \t]*,"
    r"(?:[^\"'\n]{0,100}?\b(?:default|value)[ \t]*=)?[ \t]*",
    "option": r"[\"']--?([A-Za-z][\w.-]{0,200})[\"'][ \t]*,\s{0,40}(?![\"']-)",
    "setter": r"\b(set_?[A-Za-z_]{1,80}|\w{0,40}(?:Basic|Digest)Auth)\([ \t]*(?:[\"'][^\"'\n]{0,80}[\"'],[ \t]*)?",
    "pair": r"\b(?:[nN]ame|[kK]ey)[\"']?[ \t]*[:=][ \t]*[\"']([\w.-]{1,200})[\"'][\s,]{1,40}"
    r"[\"']?[vV]alue[\"']?[ \t]*[:=][ \t]*",
    "compared": r"(?:\"([^\"\\\n]{4,200})\"|'([^'\\\n]{4,200})')[ \t]*[!=]==?[ \t]*([A-Za-z_][\w.]{0,200})",
    # in files of settings
    "element": r"<([\w.:-]{1,80})>[ \t]*([^<>\s]{1,400})[ \t]*</",
    "pair of lines": r"\bname:[ \t]*[\"']?([\w.-]{1,200})[\"']?[ \t]*\r?\n[ \t]*value:[ \t]*[\"']?([^\s\"'#]{1,4000})",
    "block": r"(?m:^[ \t-]*[\"']?([A-Za-z_][\w.-]{0,200})[\"']?:[ \t]*[|>][+-]?[ \t]*\r?\n[ \t]+"
    r"([^\s#][^\r\n]{0,4000}))",
    # what stands under the name of a secret and is none
    "number": r"[-+]?[\d_]*\.?\d+(?:[eE][-+]?\d+)?%?|\d+(?:\.\d+){2,}",
    "nothing": r"(?i:none|null|nil|nan|true|false|yes|no|on|off|undefined|enabled|disabled|required|optional|default"
    r"|external|auto|[*•]*|x{3,}|[.…]+|-+"
    r"|<[^<>]*>|\$(?-i:[A-Z_][A-Z0-9_]*|[a-z_]+)|\$?\{.*\}|\$\(.*\)|\S*(?:\.{3}|…|\*{3})"
    r"|%\(\w+\)[a-z]|%[a-z]|[|>][+-]?|\[[A-Za-z_]+\])",
    "reference": r"\$?\{[^{}]*\}|%\(\w+\)[a-z]|%[a-z]|<[^<>]*>",
    "called": r"[A-Za-z_][A-Za-z_.]*\(",
    "key line": r"\s*(?:[A-Za-z0-9+/]+={0,2}|[A-Za-z-]+: .*)?\s*",
    "random": r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+_-][A-Za-z0-9+/_-]{23,}={0,2}",  # not from a slash on: that is a path
}


class _Patterns(dict[str, "re.Pattern[str]"]):
    """The regular expressions by kind, each compiled when a text first needs it; linear in the length of the text."""

    def __missing__(self, kind: str) -> re.Pattern[str]:
        import re

        compiled = self[kind] = re.compile(FORMS[kind])
        return compiled


PATTERNS = _Patterns()
