"""The style and the script of the pages, and their icon."""

from __future__ import annotations

from mlsdk.server.calls import ANYONE, Answer, Call, Row

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #667080; --paper: #fbfbfa; --card: #fff; --line: #e2e4e8;
  --accent: #1f6feb; --good: #1a7f47; --bad: #c02626; --warn: #9a6700; --run: #1f6feb; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --dim: #8f99a8; --paper: #14171b; --card: #1b1f25;
  --line: #2d333b; --accent: #6ea8fe; --good: #4cc38a; --bad: #ff7b72; --warn: #e3b341; --run: #6ea8fe; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; justify-content: space-between; align-items: center; gap: 1rem; padding: .6rem 1.2rem;
  border-bottom: 1px solid var(--line); background: var(--card); }
header form { display: flex; gap: .6rem; align-items: center; color: var(--dim); font-size: .9rem; }
nav { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
nav > * + *::before { content: "/"; color: var(--dim); margin: 0 .5rem; }
nav a:first-child { font-weight: 700; color: var(--ink); }
main { max-width: 1280px; margin: 0 auto; padding: 1.2rem; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
h1 { font-size: 1.4rem; margin: .2rem 0 .6rem; } h1 small { color: var(--dim); font-weight: 400; font-size: 1rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
.dim { color: var(--dim); } .number { text-align: right; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line); font-size: .92rem; }
.wide table { width: 100%; } .wide td { overflow-wrap: normal; } .status { white-space: nowrap; }
td, th { text-align: left; padding: .34rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 500; } th.number { text-align: right; } td { overflow-wrap: anywhere; }
.pairs th { white-space: nowrap; }
input, button { font: inherit; padding: .35rem .6rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--card); color: inherit; }
button { cursor: pointer; } button:hover { border-color: var(--accent); }
.filter { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 0 1rem; }
.filter input:first-child { flex: 1; min-width: 8rem; }
.door { max-width: 26rem; margin: 8vh auto; padding: 1.4rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; } .door label { display: block; margin-bottom: .8rem; } .door input { width: 100%; }
.door button { background: var(--accent); color: var(--card); border-color: var(--accent); }
.status { display: inline-block; padding: 0 .5rem; border-radius: 999px; font-size: .8rem; font-weight: 500;
  border: 1px solid currentColor; vertical-align: middle; }
.finished { color: var(--good); } .running { color: var(--run); } .failed, .killed { color: var(--bad); }
.interrupted, .lost { color: var(--warn); }
.problem { color: var(--bad); white-space: pre-wrap; overflow-wrap: anywhere; }
table.problem { white-space: normal; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: .8rem; }
figure { margin: 0; padding: .6rem .8rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
figcaption { display: flex; justify-content: space-between; gap: .6rem; } figcaption b { overflow-wrap: anywhere; }
figure p { margin: .2rem 0 0; font-size: .82rem; }
svg { width: 100%; height: 84px; display: block; }
polyline { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
pre { background: var(--card); border: 1px solid var(--line); padding: .7rem; overflow-x: auto; font-size: .85rem; }
"""

SCRIPT = """
"use strict";
const main = document.querySelector("main[data-events]");
if (main) {
  const source = new EventSource(main.dataset.events);
  let due = false;
  const look = async () => {
    if (document.hidden) {
      document.addEventListener("visibilitychange", look, { once: true });
      return;
    }
    due = false;
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (fresh && !main.contains(document.activeElement)) main.replaceChildren(...fresh.childNodes);
    if (fresh && !fresh.dataset.events) source.close();
  };
  source.addEventListener("run", () => {
    if (!due) { due = true; setTimeout(look, 1000); }
  });
}
"""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#1f6feb"/>'
    '<path d="M2 12 6 6l3 4 5-7" fill="none" stroke="#fff" stroke-width="1.8"/></svg>'
)


def _answers(content: str, kind: str) -> Answer:
    return Answer(content.encode(), 200, kind, {"Cache-Control": "public, max-age=300"})


def style(_: Call) -> Answer:
    """The style of the pages."""
    return _answers(STYLE, "text/css; charset=utf-8")


def script(_: Call) -> Answer:
    """The script that follows live runs."""
    return _answers(SCRIPT, "text/javascript; charset=utf-8")


def icon(_: Call) -> Answer:
    """The icon."""
    return _answers(ICON, "image/svg+xml")


ROWS: tuple[Row, ...] = (
    Row("GET", "/static/style.css", style, ANYONE, "the style of the pages", answer=bytes, answer_type="text/css"),
    Row("GET", "/static/follow.js", script, ANYONE, "their script", answer=bytes, answer_type="text/javascript"),
    Row("GET", "/static/icon.svg", icon, ANYONE, "their icon", answer=bytes, answer_type="image/svg+xml"),
)
"""Rows of the route table."""
