"""`mlsdk serve`: a store for a team, over HTTP."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from mlsdk.errors import UsageError

if TYPE_CHECKING:
    import socket

    from mlsdk.server.limits import Limits
    from mlsdk.server.service import Service

PORT = 8383


def serve_options(parser: argparse.ArgumentParser) -> None:
    """Options of `serve`."""
    add = parser.add_argument
    add("place", nargs="?", metavar="STORE", help="folder or URI; by default the nearest folder")
    add("--host", metavar="ADDRESS", help="where to listen; by default 127.0.0.1, which only this machine reaches")
    add("--port", type=int, default=PORT, metavar="N", help=f"by default {PORT}; 0 for any free one")
    add("--tls-cert", metavar="FILE", help="certificate chain, for https")
    add("--tls-key", metavar="FILE", help="its private key")
    add("--behind-proxy", action="store_true", help="a proxy before the server does TLS and says who calls")
    add("--insecure", action="store_true", help="listen on the network without TLS: whoever listens in reads tokens")
    add("--workers", type=int, default=1, metavar="N", help="processes; more than one over PostgreSQL only")
    add("--access-log", metavar="FILE", help="a line of JSON for each request; `-` for stdout")
    add("--rate", type=float, metavar="N", help="requests a second of one token, in the long run; 0 for no limit")
    add("--body-mib", type=int, metavar="N", help="largest body of a request, in MiB")
    add("--request-s", type=float, metavar="S", help="longest time for the work of one request")
    add("--drain-s", type=float, metavar="S", help="after SIGTERM, serve on for so long but say not to be ready")
    add("--stop-s", type=float, metavar="S", help="then wait so long for requests under way")
    add("--public-url", metavar="URL", help="under which people reach the server, where it is another")
    add("--oidc-issuer", metavar="URL", help="people sign in at this provider (docs/access.md)")
    add("--oidc-client-id", metavar="ID", help="what the provider calls this server")
    add("--oidc-members", action="append", metavar="RULE", help="who gets a role: groups=ml:default=writer; repeatable")


def serve(args: argparse.Namespace) -> int:
    """Serve a store over HTTP: runs are recorded into it, found and looked at from other machines.

    The first start makes an operator and keeps a token in this user's configuration, so that
    `MLSDK_STORE=http://127.0.0.1:8383/default` works here at once. Stop with Ctrl-C, or SIGTERM.
    """
    from mlsdk.server.app import needed
    from mlsdk.server.listen import bind, run_workers
    from mlsdk.server.workspaces import place_of

    needed("starlette", "msgspec", "uvicorn")
    host = args.host or "127.0.0.1"
    tls = _tls(args)
    _check_host(host, args, safe=tls is not None)
    uri = _store(args)
    place_of(uri, None)  # says so if workspaces cannot be kept there
    if args.workers != 1:
        _check_workers(args.workers, uri)
    limits = _limits(args)
    with bind(host, args.port) as listening:

        def work(*, first: bool) -> None:
            _work(args, uri, limits, listening, tls, first=first)

        if args.workers != 1:
            return run_workers(args.workers, work)
        work(first=True)
    return 0


def _work(
    args: argparse.Namespace,
    uri: str,
    limits: Limits,
    listening: socket.socket,
    tls: tuple[str, str] | None,
    *,
    first: bool,
) -> None:
    """What one process does."""
    import signal

    from mlsdk.server.journal import Journal
    from mlsdk.server.listen import server
    from mlsdk.server.oidc import SECRET_VARIABLE
    from mlsdk.server.service import Service
    from mlsdk.server.signin import SignIn, settings_from
    from mlsdk.server.workspaces import Workspaces

    host, port = listening.getsockname()[:2]
    origin = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"
    public = (args.public_url or origin).rstrip("/")
    secure = public.startswith("https:")
    service = Service(Workspaces(uri), limits, secure=secure, proxied=args.behind_proxy)
    settings = settings_from(
        args.oidc_issuer, args.oidc_client_id, public, args.oidc_members or [], os.environ.get(SECRET_VARIABLE)
    )
    service.sign_in = None if settings is None else SignIn(settings)
    journal = Journal(args.access_log, errors=True)
    if first:
        _greet(args, service, uri, public)
    one = server(service, journal, tls=tls)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Before the server listens, this stops it; it gives the signal on when it has stopped: all is done then.
        signal.signal(number, lambda *_: setattr(one, "should_exit", True))
    try:
        one.run(sockets=[listening])
    finally:
        journal.close()


def _store(args: argparse.Namespace) -> str:
    """The URI of the store: named, or the nearest folder, also where the settings name a server."""
    from mlsdk import config

    named = args.place or args.store
    if named is None:
        found = config.store_uri()
        return f"file:{config.default_store_folder()}" if found.startswith(("http:", "https:")) else found
    return config.store_uri(named)


def _tls(args: argparse.Namespace) -> tuple[str, str] | None:
    if not args.tls_cert and not args.tls_key:
        return None
    if not args.tls_cert or not args.tls_key:
        raise UsageError("TLS needs both --tls-cert and --tls-key")
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(args.tls_cert, args.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{args.tls_cert} and {args.tls_key} are no certificate and its key: {error}") from None
    return args.tls_cert, args.tls_key


def _check_host(host: str, args: argparse.Namespace, *, safe: bool) -> None:
    """The network is only listened to if somebody said so, and said what protects the tokens."""
    import ipaddress

    try:
        is_own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_own = host == "localhost"
    if not is_own and not (safe or args.behind_proxy or args.insecure):
        raise UsageError(
            f"{host} is reached over the network, where tokens can be read without TLS: give --tls-cert and --tls-key,"
            " or --behind-proxy if a proxy does TLS, or --insecure if you mean it"
        )


def _check_workers(count: int, uri: str) -> None:
    if count < 1:
        raise UsageError(f"--workers must be 1 or more, not {count}")
    if not uri.startswith(("postgresql:", "postgres:")):
        raise UsageError(f"{uri.partition(':')[0]}: stores are served by one process; --workers needs postgresql:")
    if not hasattr(os, "fork"):
        raise UsageError("several workers need a system with fork(); start several servers behind a proxy instead")


def _limits(args: argparse.Namespace) -> Limits:
    from mlsdk.server.limits import MIB, Limits

    told = {
        "rate_per_s": args.rate,
        "body_bytes": None if args.body_mib is None else args.body_mib * MIB,
        "request_s": args.request_s,
        "drain_s": args.drain_s,
        "stop_s": args.stop_s,
    }
    wrong = [f"{name}={value}" for name, value in told.items() if value is not None and value < 0]
    if wrong or args.body_mib == 0 or args.request_s == 0:
        raise UsageError(f"limits cannot be negative, nor those of bodies and requests nothing: {', '.join(wrong)}")
    return Limits(**{name: value for name, value in told.items() if value is not None})


def _greet(args: argparse.Namespace, service: Service, uri: str, public: str) -> None:
    """See that this user has a token, and say in three lines how to go on. Tokens are never printed."""
    from mlsdk.store import credentials

    who = _user()
    made = service.access.first_operator(who)
    secret = made[1] if made else _new_secret(service, uri, public, who)
    kept = credentials.save(public, secret) if secret else None
    place = uri.removeprefix("file:")
    print(f"serving {place} at {public} (a page for browsers, too); stop with Ctrl-C")
    if kept:
        print(f"record and find runs here:  export MLSDK_STORE={public}/default   (your token is in {kept})")
    else:
        print(f"record and find runs:  mlsdk login {public}; export MLSDK_STORE={public}/default")
    print(f"let others in:  export MLSDK_STORE={public}; mlsdk member set NAME writer; mlsdk token make --actor NAME")
    if args.insecure:
        print("mlsdk: --insecure: whoever listens in on the network reads the tokens", file=sys.stderr)
    sys.stdout.flush()


def _new_secret(service: Service, uri: str, public: str, who: str) -> str | None:
    """A new token for an operator who starts the server of a folder of theirs and has no good one; else None."""
    from mlsdk.errors import MlsdkError
    from mlsdk.server.accounts import ALL, Role
    from mlsdk.store import credentials

    try:
        service.access.authenticate(credentials.kept(public) or "")
    except MlsdkError:
        is_operator = service.access.members(ALL).get(who) is Role.ADMIN
        if uri.startswith("file:") and is_operator:
            return service.access.make_token(who, who, {ALL: Role.ADMIN}, note=f"made by mlsdk serve at {public}")[1]
        return None
    return credentials.kept(public)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this number, as in containers
        return "operator"
