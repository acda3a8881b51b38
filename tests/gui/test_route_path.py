"""The path behind a proxy, as the ASGI specification tells it."""

from __future__ import annotations

import pytest

from kohya_gui.route_path import route_path


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/lora", "", "/lora"),
        ("/lora", "/", "/lora"),
        ("/trainer/lora", "/trainer", "/lora"),
        ("/trainer/lora", "/trainer/", "/lora"),
        ("/trainer/lora/", "/trainer", "/lora/"),
        ("/trainer", "/trainer", "/"),
        ("/trainer/", "/trainer", "/"),
        ("/a/b/lora", "/a/b", "/lora"),
        ("/lora", "/trainer", "/lora"),  # the proxy has taken its folder off already
        ("/trainers", "/trainer", "/trainers"),  # another folder whose name begins alike
        ("/trainer/trainer/lora", "/trainer", "/trainer/lora"),
        ("", "", "/"),
    ],
)
def test_the_path_below_where_we_are_mounted(path: str, root: str, below: str) -> None:
    assert route_path({"type": "http", "path": path, "root_path": root}) == below


def test_a_server_that_names_no_root() -> None:
    assert route_path({"type": "http", "path": "/lora"}) == "/lora"
