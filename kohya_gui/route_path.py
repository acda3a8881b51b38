"""Which path of ours a request asks for, behind a proxy that gives us a folder of its site too."""

from __future__ import annotations

from starlette.types import Scope


def route_path(scope: Scope) -> str:
    """Return a request's path below where the application is mounted; it begins with "/".

    `path` holds `root_path`, but not every server puts it there: what does not begin with it is
    below it already.
    Source: ASGI, HTTP connection scope, https://asgi.readthedocs.io/en/latest/specs/www.html
    """
    path = str(scope["path"])
    root = str(scope.get("root_path", "")).rstrip("/")
    below = path.removeprefix(root)
    is_below = path.startswith(root) and (not below or below.startswith("/"))
    return (below if is_below else path) or "/"
