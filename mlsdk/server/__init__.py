"""The server: an ASGI application over any store, for teams. Started by `mlsdk serve`.

A request passes, from the outside in: `listen` (uvicorn: sockets, processes, who is slow), `guard` (ids, headers,
sizes, the log of requests), `app` (token, role, rates, threads), then a handler of one of the routes.

===========  ========================================================================================================
module       holds
===========  ========================================================================================================
service      what a server has, in one object: stores, access, threads, limits, figures
workspaces   which store a workspace is
routes       the table of routes, gathered from the modules below; roles and the OpenAPI document come from it
calls        what a route is, what a handler is given and may return; queries and JSON checked
logs         appending and reading logs
blobs        blobs; `uploads`: those that come in parts
runs         finding runs, series; `filters`: which filters strangers may ask for
events       live runs as server-sent events
members      members, workspaces and tokens
audits       reading the audit chain
system       health, readiness, figures, versions; `openapi`: the description
signin       signing in at a provider; `oidc`: checking what it says
pages        pages for browsers; `curves`, `static`: what they are drawn with
access       the log of who may do what; `accounts`: its fold; `follower`: keeping it fresh
audit        the log of who did what
chain        logs in which each entry names the digest of the one before: of `access` and `audit`
tokens       secrets of tokens, and where a request bears one
limits       sizes, times and rates; `bodies`, `answers`: reading and sending within them
journal      the log of requests; `metrics`: figures for Prometheus
===========  ========================================================================================================

What is kept is in the stores alone: any number of servers may stand over the same ones.
"""
