"""Pages for browsers: signing in, the runs of a workspace, one run. Plain HTML; a short script follows live runs."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from mlsdk.errors import AccessError, QueryError
from mlsdk.query.parse import parse_order
from mlsdk.records import Run, RunStatus
from mlsdk.server import curves
from mlsdk.server.calls import HTML, Answer, Call, Refused
from mlsdk.server.filters import filter_of
from mlsdk.server.tokens import cookie_in, same_site, set_cookie
from mlsdk.table import ago, duration, number

FORM = "application/x-www-form-urlencoded"

_PAGE = 50
_MOST_METRICS = 48
_MOST_POINTS = 1_000_000
"""A page draws curves of so many points together: one that is looked at must not hold up the others."""

_COLUMNS = 4
"""Metrics that the list of runs shows."""
_SAMPLED = "system/"


def shell(title: str, body: str, *, where: str = "", follow: str = "", who: str = "") -> bytes:
    """A whole page.

    Args:
        title: plain text.
        body: HTML.
        where: HTML of the path to this page.
        follow: the address of events after which the page is looked at again.
        who: who is signed in.
    """
    out = f'<form method="post" action="/auth/leave"><span>{_e(who)}</span><button>Sign out</button></form>'
    events = f' data-events="{_e(follow)}"' if follow else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{_e(title)}</title><link rel="icon" href="/static/icon.svg">'
        '<link rel="stylesheet" href="/static/style.css">'
        f'<script src="/static/follow.js" defer></script></head><body><header><nav><a href="/">mlsdk</a>{where}</nav>'
        f"{out if who else ''}</header><main{events}>{body}</main></body></html>"
    ).encode()


def failure(answer: Answer, path: str, *, elsewhere: bool) -> Answer:
    """The page for an error: who is not signed in gets the form for it.

    Args:
        answer: the error.
        path: what was asked for.
        elsewhere: whether people can sign in at a provider, too.
    """
    told: Any = answer.body
    about = told["error"]
    if answer.status == 401:
        return _sign_in(answer, "" if path == "/" else about["message"], elsewhere=elsewhere)
    text = f"<h1>{answer.status}</h1><p>{_e(about['message'])}</p><p><a href='/'>Back</a></p>"
    return Answer(shell(f"{answer.status}", text), answer.status, HTML, answer.headers, compress=False)


def _sign_in(answer: Answer, said: str, *, elsewhere: bool) -> Answer:
    link = '<p><a href="/auth/login">Sign in at your organisation</a></p>' if elsewhere else ""
    hint = f"<p class='problem'>{_e(said)}</p>" if said and not said.startswith("no token") else ""
    body = (
        '<section class="door"><h1>Sign in</h1>'
        f'{hint}<form method="post" action="/auth/token"><label>Token<input name="key" type="password" required '
        'autocomplete="current-password" autofocus></label><button>Sign in</button></form>'
        "<p class='dim'>A token is made by <code>mlsdk token make</code>; on the machine that serves, yours is in "
        "<code>~/.config/mlsdk/credentials.json</code>.</p>"
        f"{link}</section>"
    )
    return Answer(shell("Sign in", body), answer.status, HTML, answer.headers, compress=False)


def enter(call: Call) -> Answer:
    """Take a token that was typed, and keep it in a cookie."""
    _check_site(call)
    try:
        fields = dict(parse_qsl(call.body.decode("utf-8"), max_num_fields=5))
        secret = fields.get("key", "").strip()
        principal = call.service.access.authenticate(secret)
        cookie = set_cookie(secret, secure=call.secure)
    except (AccessError, ValueError):
        said = "This token is not valid: nobody has it, it was revoked, or it has expired."
        again = Answer(b"", 401, HTML, {"WWW-Authenticate": "Bearer"})
        return _sign_in(again, said, elsewhere=call.service.sign_in is not None)
    call.service.audit("").record(principal.actor, "sign in", token=principal.token, request=call.request)
    return Answer(b"", 303, HTML, {"Location": "/", "Set-Cookie": cookie}, compress=False)


def leave(call: Call) -> Answer:
    """Take the cookie away; its token ends, if it was made for this browser by signing in."""
    _check_site(call)
    access = call.service.access
    with contextlib.suppress(AccessError):
        principal = access.authenticate(cookie_in(call.headers))
        if access.token(principal.token).sign_in:
            access.revoke_token(principal.actor, principal.token, below=False)
            call.service.audit("").record(principal.actor, "sign out", token=principal.token, request=call.request)
    headers = {"Location": "/", "Set-Cookie": set_cookie("", secure=call.secure)}
    return Answer(b"", 303, HTML, headers, compress=False)


def _check_site(call: Call) -> None:
    if not same_site(call.headers):
        raise Refused(403, AccessError("this form was sent from another site"))


def front(call: Call) -> Answer:
    """The workspaces; straight to the runs where there is only one."""
    names = sorted(call.service.access.workspaces() | {"default"})
    held = [(name, call.who.role(name)) for name in names]
    mine = [(name, role) for name, role in held if role is not None]
    if len(mine) == 1:
        return Answer(b"", 303, HTML, {"Location": f"/{mine[0][0]}"}, compress=False)
    rows = "".join(f'<tr><td><a href="/{_e(name)}">{_e(name)}</a><td>{_e(str(role))}' for name, role in mine)
    body = f"<h1>Workspaces</h1><table><tr><th>name<th>your role{rows}</table>" if mine else _NO_WORKSPACE
    return Answer(shell("Workspaces", body, who=call.who.actor), 200, HTML)


_NO_WORKSPACE = "<h1>Workspaces</h1><p>You have no role in any workspace. An admin can give you one.</p>"


def run_list(call: Call) -> Answer:
    """The runs of a workspace, newest first or in the order asked for."""
    where, order, after = call.query["where"], call.query["order_by"], call.query["after"]
    runs: tuple[Run, ...] = ()
    said, more, count = "", None, 0
    store = call.store
    try:
        tree = filter_of(where)
        by = parse_order(order) if order.strip() else ()
        store.refresh()
        page = store.catalog.find(tree, by, after or None, _PAGE)
        runs, more, count = page.runs, page.after, store.catalog.count(tree)
    except QueryError as error:
        said = f"<pre class='problem'>{_e(str(error))}</pre>"
    box = (
        f'<form class="filter" method="get"><input name="where" value="{_e(where)}" aria-label="filter" '
        'placeholder="metrics.acc &gt; 0.9 and params.lr &lt; 0.1">'
        f'<input name="order_by" value="{_e(order)}" aria-label="order" placeholder="-metrics.acc">'
        "<button>Find</button></form>"
    )
    link = ""
    if more:
        rest = urlencode({"where": where, "order_by": order, "after": more})
        link = f'<p><a href="?{_e(rest)}">Next page</a></p>'
    body = f"<h1>Runs <small>{count:,}</small></h1>{box}{said}{_table(call.workspace, runs)}{link}"
    follow = "" if after else f"/v1/w/{call.workspace}/events"
    title = f"{call.workspace}: runs"
    return Answer(shell(title, body, where=_crumb(call.workspace), follow=follow, who=call.who.actor), 200, HTML)


def _table(workspace: str, runs: Iterable[Run]) -> str:
    runs = list(runs)
    if not runs:
        return "<p class='dim'>No runs.</p>"
    names = _common(runs)
    heads = "".join(f"<th class='number'>{_e(name)}" for name in names)
    rows = "".join(_row(workspace, run, names) for run in runs)
    head = f"<tr><th>status<th>name<th>experiment<th>started<th>took{heads}<th>by"
    return f"<div class='wide'><table>{head}{rows}</table></div>"


def _row(workspace: str, run: Run, names: list[str]) -> str:
    started = f"<td title='{run.started_at:%Y-%m-%d %H:%M:%S} UTC'>{ago(run.started_at)} ago"
    took = duration(run.duration_s) if run.duration_s is not None else ""
    found = (run.metrics.get(name) for name in names)
    cells = "".join(f"<td class='number'>{'' if one is None else _e(number(one.last))}" for one in found)
    return (
        f"<tr><td>{_badge(run.status)}<td><a href='/{_e(workspace)}/runs/{run.id}'>{_e(run.name)}</a>"
        f"<td>{_e(run.experiment)}{started}<td>{took}{cells}<td>{_e(run.user or '')}"
    )


def _common(runs: list[Run]) -> list[str]:
    """The metrics that most of these runs have."""
    counts: dict[str, int] = {}
    for run in runs:
        for name in run.metrics:
            if not name.startswith(_SAMPLED):
                counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: -counts[name])[:_COLUMNS]


def one_run(call: Call) -> Answer:
    """Everything about a run that fits on a page."""
    store = call.store
    store.refresh()
    run = store.catalog.get(call.run)
    body = "".join(_run_parts(run))
    follow = f"/v1/w/{call.workspace}/events?run={run.id}" if run.status is RunStatus.RUNNING else ""
    where = _crumb(call.workspace) + f"<span>{_e(run.name)}</span>"
    return Answer(shell(run.name, body, where=where, follow=follow, who=call.who.actor), 200, HTML)


def _run_parts(run: Run) -> Iterator[str]:
    took = f"took {duration(run.duration_s)}" if run.duration_s is not None else ""
    who = " on ".join(filter(None, (run.user, run.host)))
    facts = (run.experiment, f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC", took, who, run.id)
    yield f"<h1>{_e(run.name)} {_badge(run.status)}</h1><p class='dim'>{_e(' · '.join(filter(None, facts)))}</p>"
    if run.note:
        yield f"<p class='note'>{_e(run.note)}</p>"
    if run.error:
        message = f"{run.error.get('type', '?')}: {run.error.get('message', '')}"
        yield f"<h2>Error</h2><pre class='problem'>{_e(message)}\n{_e(str(run.error.get('traceback', '')))}</pre>"
    if run.problems:
        rows = "".join(f"<tr><td>{_e(one.kind)}<td>{_e(one.message)}" for one in run.problems)
        yield f"<h2>Problems</h2><table class='problem'>{rows}</table>"
    yield from _metrics(run)
    yield _pairs("Params", run.params)
    yield _pairs("Tags", run.tags)
    if run.artifacts:
        rows = "".join(
            f"<tr><td>{_e(one.name)}<td class='number'>{one.size_bytes:,} bytes<td><code>{_e(one.digest[:16])}</code>"
            for one in list(run.artifacts.values())[:200]
        )
        yield f"<h2>Artifacts</h2><table>{rows}</table>"
    if run.datasets:
        rows = "".join(
            f"<tr><td>{_e(one.name)}<td>{_e(one.note or one.path or one.description)}"
            for one in list(run.datasets.values())[:200]
        )
        yield f"<h2>Data</h2><table>{rows}</table>"
    for title, found in (("Code", run.code), ("Environment", run.environment), ("Hardware", run.hardware)):
        yield _pairs(title, {name: value for name, value in found.items() if _is_short(value)})


def _metrics(run: Run) -> Iterator[str]:
    names = sorted(run.metrics, key=lambda name: (name.startswith(_SAMPLED), name))
    if not names:
        return
    left = _MOST_POINTS
    yield "<h2>Metrics</h2><div class='charts'>"
    for name in names[:_MOST_METRICS]:
        found = run.metrics[name]
        curve = ""
        if 1 < found.count <= left:
            left -= found.count
            series = run.history(name)
            curve = curves.drawn(series.steps, series.values)
        least = "" if found.min is None else f"min {number(found.min)}"
        most = "" if found.max is None else f"max {number(found.max)}"
        points = f"{found.count:,} points" if found.count else "returned"
        points += ", too many for this page" if found.count > 1 and not curve and found.count > left else ""
        yield (
            f"<figure><figcaption><b>{_e(name)}</b> <span>{_e(number(found.last))}</span></figcaption>{curve}"
            f"<p class='dim'>{_e(' · '.join(filter(None, (least, most, points))))}</p></figure>"
        )
    yield "</div>"
    if len(names) > _MOST_METRICS:
        yield f"<p class='dim'>and {len(names) - _MOST_METRICS:,} more metrics</p>"


def _pairs(title: str, values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{_e(str(name))}<td>{_e(_text(value))}" for name, value in list(values.items())[:200])
    return f"<h2>{title}</h2><table class='pairs'>{rows}</table>" if rows else ""


def _is_short(value: object) -> bool:
    return 0 < len(_text(value)) < 160 and not isinstance(value, (list, tuple))


def _text(value: object) -> str:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return str(value)[:2_000]


def _badge(status: RunStatus) -> str:
    return f"<span class='status {status.value}'>{status.value}</span>"


def _crumb(workspace: str) -> str:
    return f'<a href="/{_e(workspace)}">{_e(workspace)}</a>'


def _e(text: str) -> str:
    return html.escape(text, quote=True)
