"""A local service in the place of Yahoo Finance: real HTTP over real TLS, reached through a proxy.

A client asks the proxy for a tunnel to `query2.finance.yahoo.com:443`, as through any company's proxy. At its
end stands this service, with a certificate of that name from an authority of its own. So everything up to
the network card is what runs in earnest: yfinance, curl, TLS with its check of the certificate.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import numpy as np
import trustme
from curl_cffi import requests

HOSTS = ("*.yahoo.com", "*.finance.yahoo.com")


@dataclass(frozen=True)
class Answer:
    """What comes back.

    Attributes:
        body: text.
        status: of HTTP.
        late: whether it comes only after the client has given up.
        cut: whether the connection ends in the middle of the body.
    """

    body: str
    status: int = 200
    late: bool = False
    cut: bool = False


Rule = Callable[[str, int], Answer]
"""From a ticker and how often it was asked for, this time included, to the answer."""


def chart(
    close: list[float | None],
    adjusted: list[float | None] | None = None,
    days: list[str] | None = None,
    *,
    zone: str = "America/New_York",
    opening: float = 14.5,
) -> Answer:
    """Daily prices in the service's form; `opening` is the exchange's, in hours of UTC."""
    days = ["2020-01-02", "2020-01-03", "2020-01-06"] if days is None else days
    opened = [int(np.datetime64(day, "s").astype(np.int64)) + int(3600 * opening) for day in days]
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    quote = {**prices, "volume": [1000 if price else 0 for price in close]}
    meta = {
        "currency": "USD",
        "symbol": "X",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": zone,
        "priceHint": 2,
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "max"],
        "currentTradingPeriod": {
            name: {"timezone": "EST", "start": 0, "end": 1, "gmtoffset": -18000}
            for name in ("pre", "regular", "post")
        },
    }
    adjusted = close if adjusted is None else adjusted
    indicators = {"quote": [quote], "adjclose": [{"adjclose": adjusted}]}
    result: dict[str, Any] = {"meta": meta, "timestamp": opened, "indicators": indicators}
    return Answer(json.dumps({"chart": {"result": [result], "error": None}}))


ABSENT = Answer(
    '{"chart": {"result": null, "error": {"code": "Not Found", "description": "No data found"}}}', 404
)


class YahooService:
    """The service; a context manager.

    Attributes:
        proxy: the address that clients are given.
        authority: the file of the authority's certificate, which clients must trust.
        asked: how often each ticker was asked for.
    """

    def __init__(self, folder: Path, rule: Rule) -> None:
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        self.asked: Counter[str] = Counter()
        self._over = threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS).configure_cert(context)
        asked, over = self.asked, self._over

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                """Open the tunnel; what follows in it is TLS."""
                self.send_response(200)
                self.end_headers()
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]
                self.close_connection = False

            def do_GET(self) -> None:
                place = urlsplit(self.path).path
                if not place.startswith("/v8/finance/chart/"):
                    self.answer(Answer("crumb"))  # cookies and crumbs
                    return
                ticker = unquote(place.rpartition("/")[2])
                asked[ticker] += 1
                self.answer(rule(ticker, asked[ticker]))

            def answer(self, answer: Answer) -> None:
                if answer.late:
                    over.wait(30.0)
                body = answer.body.encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if answer.cut else body)
                self.close_connection = self.close_connection or answer.cut

            def log_message(self, *_: object) -> None:
                """Nothing on the terminal."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that gives up is part of the test."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.proxy = f"http://127.0.0.1:{self._server.server_address[1]}"

    def session(self, *, trusting: bool = True) -> Any:
        """A session as yfinance makes it, led here; one that does not trust knows the public authorities
        only."""
        return requests.Session(
            impersonate="chrome",
            proxies={"all": self.proxy},
            verify=str(self.authority) if trusting else True,  # type: ignore[arg-type]
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
