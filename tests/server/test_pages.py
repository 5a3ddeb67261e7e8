"""The pages for browsers: signing in, the list of runs, a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from mlsdk.server.accounts import Role
from mlsdk.server.curves import drawn
from mlsdk.testing import MadeLog
from tests.servers.http import Running, Session, pieces, running

EVIL = "<script>alert('x')</script>\"&"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(f"file:{tmp_path_factory.mktemp('pages')}/served") as found:
        yield found


@pytest.fixture
def browser(served: Running) -> Session:
    """A browser that has signed in."""
    session = served.session("")
    answer = session.post("/auth/token", data={"key": served.token})
    assert (answer.status_code, session.cookies["mlsdk_token"]) == (200, served.token)
    return session


class Tags(HTMLParser):
    """What stands in a page: its tags, and what of them would run as script or style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.bad: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        told = dict(attrs)
        if (tag == "script" and not told.get("src", "").startswith("/static/")) or tag == "style":
            self.bad.append(tag)
        self.bad += [name for name in told if name.startswith("on") or name == "style"]


def sent(api: Session, log: MadeLog, workspace: str = "default") -> MadeLog:
    assert api.append(pieces((log.name, 0, log.data)), workspace).ok
    return log


def test_signing_in(served: Running) -> None:
    """Without a cookie there is a form; a good token is kept in a cookie that no script sees and no site sends."""
    stranger = served.session("")
    first = stranger.get("/")
    wrong = stranger.post("/auth/token", data={"key": "mlsdk_nobody_nothing"})
    right = stranger.post("/auth/token", data={"key": served.token}, allow_redirects=False)
    cookie = right.headers["Set-Cookie"]
    inside = stranger.get("/default")
    stranger.post("/auth/leave")
    outside = stranger.get("/default")

    assert (first.status_code, 'name="key"' in first.text) == (401, True)
    assert (wrong.status_code, "Set-Cookie" in wrong.headers) == (401, False)
    assert (right.status_code, right.headers["Location"]) == (303, "/")
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert "Secure" not in cookie  # this one came without TLS
    assert served.token not in inside.text
    assert (inside.status_code, outside.status_code) == (200, 401)


def test_forms_of_other_sites(served: Running, browser: Session) -> None:
    """A form that another site sends signs nobody in or out; a cookie is no token for the API."""
    answers = [
        browser.post(path, data={"key": served.token}, headers=headers, allow_redirects=False)
        for path in ("/auth/token", "/auth/leave")
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"})
    ]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert browser.get("/v1/w/default/logs").status_code == 401
    assert browser.post("/v1/w/default/find", json={}).status_code == 401


def test_the_list(browser: Session, served: Running) -> None:
    """The list shows runs with what was logged, filters, and goes on page by page."""
    api = served.session()
    for number in range(60):
        log = MadeLog().facts({"run": {"name": f"listed-{number}", "status": "finished"}, "params": {"n": number}})
        sent(api, log.points(["acc"], [(0, number / 100)]).close())
    page = browser.get("/default?where=params.n >= 0&order_by=-params.n").text
    onward = re.search(r'href="\?([^"]+)">Next', page)
    assert onward is not None
    second = browser.get("/default?" + onward[1].replace("&amp;", "&")).text
    few = browser.get("/default?where=params.n > 57").text
    wrong = browser.get("/default?where=params.n >> 57")

    assert page.count("listed-") == 50
    assert second.count("listed-") == 10
    assert few.count("listed-") == 2
    assert "0.59" in few
    assert (wrong.status_code, "problem" in wrong.text) == (200, True)


def test_a_page_of_a_run(browser: Session, served: Running) -> None:
    """A run's page shows params, curves of its metrics, tags and problems, and follows it while it is live."""
    log = MadeLog(identity={"host": "elsewhere", "pid": 1}, order=2_000_000_000_000_000_000)
    log.facts({"run": {"name": "shown"}, "params": {"lr": 0.1}, "tags": {"team": "x"}})
    log.facts({"problems": {"slow": {"message": "it was slow", "t": log.order}}})
    sent(served.session(), log.points(["loss"], [(step, 1 / (step + 1)) for step in range(1000)]))
    page = browser.get(f"/default/runs/{log.run}")

    assert page.status_code == 200
    assert [text in page.text for text in ("lr", "0.1", "team", "it was slow", "<polyline")] == [True] * 5
    assert ("data-events=" in page.text) == ("status running" in page.text)
    assert browser.get(f"/default/runs/{'f' * 32}").status_code == 404


def test_nothing_of_a_user_becomes_markup(browser: Session, served: Running) -> None:
    """Names, values, filters and errors are text, wherever they stand; pages hold no script or style of their own."""
    log = MadeLog().facts(
        {
            "run": {"name": EVIL, "experiment": EVIL, "user": EVIL, "note": EVIL, "status": "failed"},
            "params": {EVIL: EVIL},
            "tags": {EVIL: EVIL},
            "problems": {EVIL: {"message": EVIL, "t": 1}},
            "env": {EVIL: EVIL},
        }
    )
    log.facts({"run": {"error": {"type": EVIL, "message": EVIL, "traceback": EVIL}}})
    sent(served.session(), log.points([EVIL], [(0, 1.0), (1, 2.0)]).close())
    answers = [
        browser.get("/"),
        browser.get("/default"),
        browser.get(f"/default/runs/{log.run}"),
        browser.get("/default", params={"where": EVIL, "order_by": EVIL}),
        browser.get("/default", params={"nix": EVIL}),
        browser.get(f"/default/runs/{EVIL}"),
        browser.get(f"/{EVIL}"),
        served.session("").get(f"/{EVIL}"),
    ]

    for answer in answers:
        assert "<script>alert" not in answer.text, answer.url
        assert Tags(answer.text).bad == [], answer.url
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")


def test_who_sees_what(served: Running) -> None:
    """People see the workspaces in which they have a role, and no others."""
    served.token_of("zoe", "pages-a", Role.VIEWER)
    token = served.token_of("zoe", "pages-b", Role.VIEWER)
    both = served.service.access.make_token("operator", "zoe", {"*": Role.ADMIN})[1]
    one, two = served.session(""), served.session("")
    one.post("/auth/token", data={"key": token})
    two.post("/auth/token", data={"key": both})
    only, choice = one.get("/"), two.get("/").text

    assert only.url.endswith("/pages-b")
    assert [name in choice for name in ("/pages-a", "/pages-b", "/default")] == [True, True, False]
    assert one.get("/pages-a").status_code == one.get("/no-such").status_code == 404


def test_static_parts(served: Running) -> None:
    """Style, script and icon are served to anyone, with their types."""
    stranger = served.session("")
    found = {name: stranger.get(f"/static/{name}") for name in ("style.css", "follow.js", "icon.svg")}

    assert {name: answer.headers["Content-Type"].partition(";")[0] for name, answer in found.items()} == {
        "style.css": "text/css",
        "follow.js": "text/javascript",
        "icon.svg": "image/svg+xml",
    }


def test_curves() -> None:
    """A curve keeps every peak, passes over what is not finite, and bears the largest numbers."""
    steps = list(range(10_000))
    values = [0.0] * 10_000
    values[4_321] = 1.0
    peak = drawn(steps, values)
    huge = drawn([0, 1, 2], [-1.7e308, float("nan"), 1.7e308])

    assert ",4.0" in peak
    assert peak.count(",") < 700
    assert huge.count(",") == 2
    assert "nan" not in huge
    assert drawn([0], [1.0]) == drawn([0, 1], [float("inf")] * 2) == ""
