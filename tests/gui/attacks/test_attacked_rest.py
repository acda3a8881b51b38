"""The routes for programs, with everything that no program should send: told, never a fault."""

from __future__ import annotations

import http.client
import itertools
from typing import Final
from urllib.parse import quote, urlsplit

import pytest

from kohya_gui.jobs.submitting import MAX_TOML_BYTES
from kohya_gui.rest.routes import PREFIX, addresses
from sd_scripts.runs.folder import RunFolder
from tests.gui.attacks.evils import leaks
from tests.gui.test_server import Served
from tests.support.patience import PATIENCE_SECONDS

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
PARTS: Final = (
    *("..", "../..", "../../../outside", "..\\..\\outside", "....//", ".", "", " ", "%", "%2e%2e"),
    *("a\x00b", "\x00", "a\r\nX-Evil: 1", "\ud800".encode("utf-8", "surrogatepass"), b"\xff\xfe"),
    *(
        "/etc/passwd",
        "C:\\Windows\\win.ini",
        "\\\\192.0.2.1\\share",
        "con",
        "x" * 300,
        "x" * 20_000,
    ),
    *(
        "-1",
        "1e999",
        "NaN",
        "9" * 400,
        "٣",
        "${jndi:x}",
        "<script>",
        "{run}",
        "'; --",
        "x" * 20_000,
    ),
)
BODIES: Final = (
    *(
        b"",
        b"\x00",
        b"\xff\xfe\x00",
        b"x",
        b"[",
        b"=",
        b"a = ",
        b"[[a]]",
        b"a = nan",
        b"seed = inf",
    ),
    *(b"seed = " + b"9" * 5000, b"seed = -9223372036854775809", b"seed = 1e999", b"a" * 900_000),
    *(b"a = " + b"[" * 100_000, b"a = " + b"{x=" * 20_000, b"a." * 400_000 + b"b = 1"),
    *(b"[" + b"a." * 20_000 + b"a]", b"# " + b"x" * 900_000, b"train_data_dir = 5\nseed = 'x'"),
    *(b'train_data_dir = "a\\u0000b"', b'output_name = "../../out"', b'output_name = "a\\nb"'),
    *(
        b'network_args = [["a"]]\n',
        b"network_dim = [[1]]",
        b"network_dim = {a = 1}",
        b"seed = true",
    ),
    *(
        b'train_data_dir = "~nobody/x"',
        b"a = 1\n" * 50_000,
        b"network_dim = [1" + b",1" * 400 + b"]",
    ),
    *(
        b"max_train_epochs = 1979-05-27",
        b'vae = "' + b"x/" * 5_000 + b'"',
        b'"" = 1',
        b'"\\u0000" = 1',
    ),
)
QUERIES: Final = ("job", "name", "device", "do", "limit", "offset", "lines", "position", "active")


class Answered:
    """What a raw request got: the client here sends what others would refuse to."""

    def __init__(self, served: Served) -> None:
        address = urlsplit(served.address)
        self._host, self._port = str(address.hostname), int(address.port or 0)
        self.faults: list[tuple[object, ...]] = []

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> int:
        """Send a request; note a fault unless the answer tells what is wrong."""
        line = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE_SECONDS)
        try:
            line.request(method, path, body, headers or {})
            answer = line.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except http.client.HTTPException as error:
            self.faults.append((method, path[:90], body[:40], repr(error)))
            return 0
        finally:
            line.close()
        told = answer.status < 500 and "Traceback" not in text and not leaks(text)
        if not told or answer.headers.get("X-Evil") is not None:
            self.faults.append((method, path[:90], body[:40], answer.status, text[:200]))
        return answer.status


@pytest.fixture
def answered(served: Served, asked: list[object]) -> Answered:
    return Answered(served)


def paths(served: Served, run: RunFolder, part: str | bytes) -> set[str]:
    """Return every route with something in each of its places, and in all of its questions."""
    sent = quote(part, safe="")
    found = set()
    for one in addresses(served.context):
        for field in ("{run}", "{file:path}", "{check}", "{request}", "{job}"):
            if field in one.path:
                path = one.path.replace(field, sent).replace("{run}", run.id)
                for other in ("{file:path}", "{check}", "{request}", "{job}"):
                    path = path.replace(other, "x")
                found.add(PREFIX + path)
    return found


def test_nothing_in_an_address_is_a_fault(
    served: Served, run: RunFolder, answered: Answered
) -> None:
    for part in PARTS:
        for path in paths(served, run, part):
            for method in ("GET", "POST", "DELETE"):
                answered.ask(method, path)
    assert answered.faults == []
    assert run.path.is_dir()


def test_no_question_is_a_fault(served: Served, run: RunFolder, answered: Answered) -> None:
    asked = "&".join(f"{name}={{0}}" for name in QUERIES)
    for part, one in itertools.product(PARTS, addresses(served.context)):
        if one.method == "DELETE" or len(part) > 10_000:
            continue
        path = PREFIX + one.path.replace("{run}", run.id).replace("{request}", "save")
        path = path.replace("{file:path}", "x").replace("{job}", "x").replace("{check}", "x")
        answered.ask(one.method, f"{path}?{asked.format(quote(part, safe=''))}")
    assert answered.faults == []


def test_no_body_is_a_fault(served: Served, answered: Answered) -> None:
    before = len(served.context.queue.items())
    for body in (*BODIES, b" " * (MAX_TOML_BYTES + 1)):
        for path in ("/jobs?do=check", "/jobs?do=check&job=train_db", "/jobs", "/checks"):
            status = answered.ask("POST", PREFIX + path, body)
            assert status in (400, 413, 422), (path, body[:60], status)
    assert answered.faults == []
    assert len(served.context.queue.items()) == before


def test_no_method_is_a_fault(served: Served, run: RunFolder, answered: Answered) -> None:
    """What a method is called in a header does not count: no way round what is asked for."""
    for method, one in itertools.product(METHODS, addresses(served.context)):
        path = one.path.replace("{run}", "gone").replace("{request}", "stop")
        path = path.replace("{file:path}", "x").replace("{job}", "x").replace("{check}", "x")
        if path in ("/queue/pause", "/queue/continue"):
            continue
        answered.ask(method, PREFIX + path)
    sly = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
    assert answered.ask("GET", f"{PREFIX}/runs/{run.id}?_method=DELETE", headers=sly) == 200
    assert answered.ask("POST", f"{PREFIX}/runs/{run.id}?_method=DELETE", headers=sly) in (404, 405)
    assert run.path.is_dir()
    assert answered.faults == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "127.0.0.1@evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "[::1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[bad"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}, 403),
        (
            {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/x-www-form-urlencoded"},
            403,
        ),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}, 200),
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "x"}, 400),
        ({"Authorization": "Basic " + "A" * 5000}, 200),
        ({"Cookie": "x=" + "y" * 5000}, 200),
        ({"Accept-Language": "x" * 5000}, 200),
    ],
)
def test_headers_of_others_change_nothing(
    answered: Answered, headers: dict[str, str], status: int
) -> None:
    """A page elsewhere cannot set X-Forwarded-Host: a proxy before us does."""
    got = answered.ask("POST", f"{PREFIX}/jobs?do=check", b"seed = x", headers=headers)
    assert got in ((400, 422) if status == 200 else (status,))
    assert answered.faults == []
