"""moto's server of the S3 protocol, with conditions that hold: `python -I moto_server.py PORT`.

moto looks whether an object is there and puts it in two steps, so of several who ask at once more than one may be told
that it was first. Here such requests go one at a time.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

_moto = DomainDispatcherApplication(create_backend_app)
_one_at_a_time = threading.Lock()


def _application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ:
        with _one_at_a_time:
            return _moto(environ, start_response)
    return _moto(environ, start_response)


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), _application, threaded=True)
