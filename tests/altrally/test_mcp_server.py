"""The read-only server for assistants, asked through the protocol's own client."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from invoking import Invoke
from mcp import Client, StdioServerParameters

from altrally.mcp_server import build_server
from core.home import open_home


def ask(home: Path, tool: str, **arguments: Any) -> Any:
    """What a tool answers, asked in this process."""

    async def answer() -> Any:
        async with Client(build_server(open_home(home))) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(answer())


def files(home: Path) -> dict[str, bytes]:
    """Ledger and store of a home."""
    return {name: (home / name).read_bytes() for name in ("ledger.jsonl", "store.duckdb")}


@pytest.fixture(scope="module")
def home(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained home of one's own."""
    return Path(shutil.copytree(trained_home, tmp_path_factory.mktemp("asked") / "home"))


def test_tools_answer_as_the_commands_do_and_change_nothing(altrally: Invoke, home: Path) -> None:
    assert altrally("score", "--home", home).code == 0
    track_record = json.loads(altrally("ledger", "--home", home, "--json").out)
    before = files(home)
    issued = ask(home, "score").structured_content
    forecasts = [line for line in map(json.loads, (home / "ledger.jsonl").read_text().splitlines()) if "horizons" in line]
    assert issued["horizons"] == forecasts[-1]["horizons"]
    assert track_record.items() >= ask(home, "record").structured_content.items()
    verdicts = json.loads(altrally("audit", "--home", home, "--json").out)
    assert ask(home, "audit").structured_content == verdicts
    rows = json.loads(altrally("compare", "--home", home, "--json").out)
    assert ask(home, "compare").structured_content["result"] == rows
    assert files(home) == before


def test_what_is_missing_is_said_in_one_line(simulated_home: Path, tmp_path: Path) -> None:
    shutil.copy(simulated_home / "store.duckdb", tmp_path)
    told = ask(tmp_path, "score")
    assert told.is_error
    assert "Run `altrally score` first." in told.content[0].text
    assert not (tmp_path / "ledger.db").exists()
    assert "2024-13-01" in ask(tmp_path, "audit", as_of="2024-13-01").content[0].text


def test_the_command_speaks_the_protocol(home: Path) -> None:
    async def names() -> tuple[list[str], list[bool | None]]:
        script = str(Path(sys.executable).with_name("altrally"))
        async with Client(StdioServerParameters(command=script, args=["--home", str(home), "mcp"])) as client:
            tools = (await client.list_tools()).tools
            return [tool.name for tool in tools], [tool.annotations.read_only_hint for tool in tools if tool.annotations]

    assert asyncio.run(names()) == (["score", "record", "audit", "compare"], [True] * 4)
