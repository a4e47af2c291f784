"""A web server on 127.0.0.1 that answers as Yahoo, FRED, ALFRED and Coin Metrics do: the real clients need no network."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import pandas as pd

from sources.live import Endpoints

PATIENCE_OF_A_TEST = 5.0

Params = dict[str, str]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `how` it comes: whole, or failing on the way."""

    body: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    how: Literal["whole", "silence", "reset", "drip", "half", "cut"] = "whole"


Responder = Callable[[str, Params], Answer]


@dataclass
class Replay:
    """What is answered, by the start of the path (the longest that fits), what is answered first, and what was asked.

    `faults` are answered instead, by the number of the request; each once.
    """

    address: str = ""
    routes: dict[str, Responder] = field(default_factory=dict)
    first: dict[str, list[Answer]] = field(default_factory=dict)
    faults: dict[int, Answer] = field(default_factory=dict)
    asked: list[tuple[str, Params]] = field(default_factory=list)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints(fred=self.address, alfred=self.address, coins=self.address, yahoo=self.address)

    def answer(self, path: str, params: Params) -> Answer:
        self.asked.append((path, params))
        fault = self.faults.pop(len(self.asked) - 1, None)
        if fault is not None and fault.how != "whole":
            return replace(self._sound(path, params), how=fault.how)
        return fault or self._sound(path, params)

    def _sound(self, path: str, params: Params) -> Answer:
        for start, waiting in self.first.items():
            if path.startswith(start) and waiting:
                return waiting.pop(0)
        fitting = max((start for start in self.routes if path.startswith(start)), key=len, default=None)
        return self.routes[fitting](path, params) if fitting else Answer('{"error": "nothing here"}', 404)

    def asked_of(self, start: str) -> list[Params]:
        return [params for path, params in self.asked if path.startswith(start)]


@contextmanager
def serving(routes: dict[str, Responder]) -> Iterator[Replay]:
    """A running server of `routes`."""
    replay, ended = Replay(routes=routes), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            answer = replay.answer(parts.path, dict(parse_qsl(parts.query)))
            body = answer.body.encode()
            if answer.how == "silence":
                ended.wait(PATIENCE_OF_A_TEST)
            if answer.how in ("silence", "reset"):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            sent = body[: len(body) // 2] if answer.how in ("half", "cut") else body
            self.send_response_only(answer.status)
            for name, value in {"Content-Length": str(len(sent if answer.how == "cut" else body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.send_body(sent, dripping=answer.how == "drip")

        def send_body(self, body: bytes, *, dripping: bool) -> None:
            for byte in body if dripping else ():
                self.wfile.write(bytes([byte]))
                if ended.wait(0.05):
                    return
            if not dripping:
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    replay.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield replay
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Market:
    """Bodies in the shape of each service, made from drop-in frames. `today` is the running day: its bars are there too.

    `called`: what a coin is called at Coin Metrics where not by its asset; `unpriced`: codes whose price and market cap cost money.
    """

    frames: dict[str, pd.DataFrame]
    since: pd.Timestamp
    today: pd.Timestamp
    called: dict[str, str] = field(default_factory=dict)
    unpriced: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        span = {name: frame[frame.date.between(self.since, self.today)] for name, frame in self.frames.items()}
        self.frames = span
        self.bars = {ticker: rows.set_index("date") for ticker, rows in span["prices"].groupby("ticker", observed=True)}
        ranges = span["crypto_ohlcv"].assign(adj_close=lambda rows: rows.close)
        self.bars |= {f"{symbol}-USD": rows.set_index("date") for symbol, rows in ranges.groupby("symbol", observed=True)}
        clean = span["crypto"].query("not bad_tick")
        self.coins = {self.code(asset): rows for asset, rows in clean.groupby("asset", observed=True)}
        self.stable_start = {"usdt": self.since, "usdc": self.since, "dai": self.since + pd.Timedelta(days=100)}

    def code(self, asset: Any) -> str:
        usual = {"bitcoin": "btc", "ethereum": "eth", "simulated-dollar": "usdt", "simulated-cash": "usdc"}
        return (usual | self.called).get(asset, str(asset))

    def routes(self) -> dict[str, Responder]:
        return {
            "/": lambda path, params: Answer("ok") if path == "/" else Answer("not found", 404),
            "/v1/test/getcrumb": lambda path, params: Answer("crumb"),
            "/v8/finance/chart/": self.chart,
            "/graph/fredgraph.csv": self.graph,
            "/catalog-v2/asset-metrics": self.catalogue,
            "/timeseries/asset-metrics": self.metrics,
        }

    def chart(self, path: str, params: Params) -> Answer:
        ticker = path.rpartition("/")[2].replace("%5E", "^")
        if ticker not in self.bars:
            return Answer(NO_TICKER, 404)
        bars = self.bars[ticker]
        if "period1" in params:
            first, last = (pd.Timestamp(int(params[name]), unit="s") for name in ("period1", "period2"))
            bars = bars[(bars.index >= first.floor("D")) & (bars.index < last)]
        return Answer(chart_body(ticker, bars))

    def graph(self, path: str, params: Params) -> Answer:
        rows = self.frames["fred"].query("series == @params['id']")
        rows = rows[rows.date >= params.get("cosd", "1900-01-01")]
        lines = [f"{day:%Y-%m-%d},{value:g}" for day, value in zip(rows.date, rows.value, strict=True)]
        return Answer("\n".join([f"observation_date,{params['id']}", *lines, "2024-12-25,", ""]))

    def observations(self, path: str, params: Params) -> Answer:
        """A series as FRED's API gives it."""
        rows = self.frames["fred"].query("series == @params['series_id']")
        rows = rows[rows.date >= params.get("observation_start", "1900-01-01")]
        said = [
            {"realtime_start": f"{self.today:%Y-%m-%d}", "date": f"{day:%Y-%m-%d}", "value": f"{value:g}"}
            for day, value in zip(rows.date, rows.value, strict=True)
        ]
        missing = {"realtime_start": f"{self.today:%Y-%m-%d}", "date": "2024-12-25", "value": "."}
        return Answer(json.dumps({"count": len(said) + 1, "observations": [*said, missing]}))

    def catalogue(self, path: str, params: Params) -> Answer:
        spans = {code: (rows.date.min(), rows.date.max()) for code, rows in self.coins.items()}
        if params["metrics"] == "SplyCur":
            spans = {code: (first, self.today) for code, first in self.stable_start.items()}
        metric = params["metrics"]
        rows = [
            {
                "asset": code,
                "metrics": [{"metric": metric, "frequencies": [self.span(code, metric, a, b)]}],
            }
            for code, (a, b) in spans.items()
        ]
        return Answer(json.dumps({"data": [*rows, {**rows[0], "asset": f"{rows[0]['asset']}_eth"}]}))

    def span(self, code: str, metric: str, first: pd.Timestamp, last: pd.Timestamp) -> dict[str, Any]:
        """Days of a metric, which only those may ask for that it is free for."""
        free = {} if code in self.unpriced and metric != "CapMrktEstUSD" else {"community": True}
        return {"frequency": "1d", "min_time": stamp(first), "max_time": stamp(last), **free}

    def metrics(self, path: str, params: Params) -> Answer:
        """Two pages where there are more than 50 rows."""
        codes = params["assets"].split(",")
        table = self.supply(codes) if params["metrics"] == "SplyCur" else self.priced(codes, params["metrics"].split(","))
        end = params.get("end_time", "9999")
        table = [row for row in table if params["start_time"] <= str(row["time"]) and str(row["time"])[:10] <= end]
        offset = int(params.get("next_page_token", "0"))
        size = max(len(table) // 2 + 1, 50)
        more = (
            {"next_page_token": str(offset + size), "next_page_url": "https://elsewhere.invalid/"}
            if offset + size < len(table)
            else {}
        )
        return Answer(json.dumps({"data": table[offset : offset + size], **more}))

    def priced(self, codes: list[str], metrics: list[str]) -> list[dict[str, str | None]]:
        free = [code for code in codes if code in self.coins and (code not in self.unpriced or "PriceUSD" not in metrics)]
        rows = [
            {"asset": code, "time": stamp(day), "PriceUSD": repr(float(price)), "CapMrktCurUSD": repr(float(cap))}
            | {"CapMrktEstUSD": repr(float(cap))}
            for code in free
            for day, price, cap in self.coins[code][["date", "price", "market_cap"]].itertuples(index=False)
        ]
        return [{name: row[name] for name in ("asset", "time", *metrics)} for row in rows]

    def supply(self, codes: list[str]) -> list[dict[str, str | None]]:
        days = pd.date_range(self.since, self.today)
        return [
            {"asset": code, "time": stamp(day), "SplyCur": "1000000.5"}
            for code in codes
            for day in days
            if day >= self.stable_start[code] and (code, day) != ("usdc", pd.Timestamp("2024-06-01"))
        ]


@dataclass
class Vintages:
    """ALFRED's answers for one series: rows observed, known, value, each valid until the next one of its day."""

    code: str
    key: str
    rows: pd.DataFrame

    def routes(self) -> dict[str, Responder]:
        return {"/fred/series/vintagedates": self.days, "/fred/series/observations": self.periods}

    def days(self, path: str, params: Params) -> Answer:
        if params["api_key"] != self.key:
            message = f"Bad Request.  The value for variable api_key is not registered: {params['api_key']}."
            return Answer(json.dumps({"error_code": 400, "error_message": message}), 400)
        days = sorted({f"{day:%Y-%m-%d}" for day in self.rows.known}) if params["series_id"] == self.code else []
        return Answer(json.dumps({"count": len(days), "vintage_dates": days}))

    def periods(self, path: str, params: Params) -> Answer:
        """Values valid at some time in the asked span, their periods cut at its ends, as ALFRED does."""
        start, end = pd.Timestamp(params["realtime_start"]), pd.Timestamp(params["realtime_end"])
        rows = self.rows.sort_values(["observed", "known"])
        until = rows.groupby("observed").known.shift(-1).fillna(pd.Timestamp("2200-01-01"))
        valid = rows[(until > start) & (rows.known <= end) & (rows.observed >= params["observation_start"])]
        page = valid.iloc[int(params["offset"]) :][: int(params["limit"])]
        said = [
            {
                "realtime_start": f"{max(known, start):%Y-%m-%d}",
                "date": f"{day:%Y-%m-%d}",
                "value": "." if pd.isna(value) else str(value),
            }
            for day, known, value in zip(page.observed, page.known, page.value, strict=True)
        ]
        return Answer(json.dumps({"count": len(valid), "observations": said}))


NO_TICKER = '{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}'


def stamp(day: pd.Timestamp) -> str:
    """A day as Coin Metrics writes it."""
    return f"{day:%Y-%m-%d}T00:00:00.000000000Z"


def chart_body(ticker: str, bars: pd.DataFrame) -> str:
    """Bars as Yahoo's chart API writes them: dated by the opening of the session, missing values null."""
    coin = ticker.endswith("-USD")
    zone = "UTC" if coin else "America/New_York"
    opening = pd.Timedelta(0) if coin else pd.Timedelta(hours=9.5)
    opened = (bars.index.as_unit("s") + opening).tz_localize(zone)

    def values(name: str) -> list[float | None]:
        return [None if pd.isna(value) else float(value) for value in bars[name]]

    volume = [None if value is None else int(value) for value in values("volume")]
    quote = {name: values(name) for name in ("open", "high", "low", "close")} | {"volume": volume}
    meta = {
        "currency": "USD",
        "symbol": ticker,
        "instrumentType": "CRYPTOCURRENCY" if coin else "ETF",
        "firstTradeDate": 728317800,
        "regularMarketTime": 1735678800,
        "gmtoffset": 0 if coin else -18000,
        "timezone": "UTC" if coin else "EST",
        "exchangeTimezoneName": zone,
        "regularMarketPrice": 1.0,
        "priceHint": 2,
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
    }
    result = {"meta": meta, "indicators": {"quote": [quote], "adjclose": [{"adjclose": values("adj_close")}]}}
    if len(bars):
        result["timestamp"] = [int(moment.timestamp()) for moment in opened]
    return json.dumps({"chart": {"result": [result], "error": None}})
