"""A real OpenID Connect provider for tests, with a line for each request it got and a lie it can be made to tell."""

import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from werkzeug.serving import make_server


@dataclass
class Provider:
    """The provider's address and what was asked of it, by path."""

    issuer: str = ""
    asked: dict[str, dict[str, str]] = field(default_factory=dict)
    nonce_lie: str | None = None
    """Where set, the provider thinks that the browser came with this nonce."""


class _Recorder:
    def __init__(self, app: Any, provider: Provider) -> None:
        self._app, self._provider = app, provider

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        asked = parse_qs(environ.get("QUERY_STRING", "")) | parse_qs(body.decode())
        self._provider.asked[environ["PATH_INFO"]] = {name: values[0] for name, values in asked.items()}
        if self._provider.nonce_lie and "nonce" in asked:
            query = environ["QUERY_STRING"]
            environ["QUERY_STRING"] = query.replace(asked["nonce"][0], self._provider.nonce_lie)
        found: Iterable[bytes] = self._app(environ, start_response)
        return found


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Yield a provider that listens; whoever signs in there types who they are."""
    with warnings.catch_warnings():
        # The provider's own imports are deprecated; that is its maker's business.
        warnings.simplefilter("ignore")
        import oidc_provider_mock

        app = oidc_provider_mock.app()
    provider = Provider()
    server = make_server("127.0.0.1", 0, _Recorder(app, provider), threaded=True)
    provider.issuer = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
