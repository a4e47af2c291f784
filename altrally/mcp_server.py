"""A read-only server of the Model Context Protocol: an assistant reads forecast, track record, audit and models by it."""

from collections.abc import Callable
from functools import wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from altrally.api import now, open_store, parse_day, tracking_place
from core.errors import AltrallyError, BadInput, MissingData
from core.home import Home
from core.target import ALTCOINS

if TYPE_CHECKING:
    from mcp.server import MCPServer

INSTRUCTIONS = (
    "altrally forecasts the probability that altcoins rally by 30 % within 30, 60 and 90 days. Never tell a probability without "
    "its base rate, its interval (parameter uncertainty only) and the grade of evidence. Nothing here is investment advice, and no "
    "tool changes anything: `altrally score` or `altrally watch` on the machine makes new forecasts."
)
Tool = Callable[..., Any]


def build_server(home: Home) -> "MCPServer[Any]":
    """The server of a home with its four tools. Raises BadInput where the package is missing."""
    try:
        from mcp.server import MCPServer
        from mcp.types import ToolAnnotations
    except ImportError:
        raise BadInput("`altrally mcp` needs the package mcp: `pip install '.[mcp]'` in a checkout of altrally.") from None

    def score() -> dict[str, Any]:
        """The newest forecast: its day, probabilities with intervals and base rates, skill, evidence, drivers, model and market."""
        from altrally.ledger import NO_FORECAST, SCORE, Ledger

        require_ledger(home)
        with Ledger.open(home.ledger) as ledger:
            lines = [line for line in ledger.of_kinds(SCORE) if line.is_of(ALTCOINS) and not line.is_question]
        if not lines:
            raise MissingData(NO_FORECAST)
        return dict(lines[-1].body)

    def record() -> dict[str, Any]:
        """The track record: how live and backtest forecasts did against their base rates, and the live evidence of each model."""
        from altrally.issue import as_of_day
        from altrally.ledger import Ledger
        from altrally.track_record import track_record_summary

        require_ledger(home)
        with open_store(home) as store, Ledger.open(home.ledger) as ledger:
            return track_record_summary(ledger, store.market or "", as_of_day(store, None, now()))

    def audit(as_of: str | None = None) -> dict[str, Any]:
        """Every line of the claim (small caps lead altcoins) with its evidence and verdict, at the end of a day YYYY-MM-DD."""
        from altrally.study_jobs import audit_day
        from studies.audit.claim import audit as audit_claim

        with open_store(home) as store:
            return audit_claim(store, audit_day(store, parse_day(as_of, "as_of"))).to_dict()

    def compare() -> list[dict[str, Any]]:
        """The models of the last training on the same days, a row a model and horizon, each paired with the champion."""
        from training.compare import compare as compare_runs

        return compare_runs(tracking_place(home), [], ALTCOINS)

    server: MCPServer[Any] = MCPServer("altrally", instructions=INSTRUCTIONS, version=version("altrally"), log_level="ERROR")
    for tool in (score, record, audit, compare):
        server.tool(annotations=ToolAnnotations(read_only_hint=True))(with_clear_errors(tool))
    return server


def require_ledger(home: Home) -> None:
    """Raise MissingData where no forecast was ever issued: opening a ledger would create it."""
    from altrally.ledger import NO_FORECAST

    if not home.ledger.exists():
        raise MissingData(NO_FORECAST)


def with_clear_errors(tool: Tool) -> Tool:
    """The tool; what the user can mend reaches the assistant in its own words."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    def run(*arguments: Any, **named: Any) -> Any:
        try:
            return tool(*arguments, **named)
        except AltrallyError as error:
            raise ToolError(str(error)) from None

    return run
