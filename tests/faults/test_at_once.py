"""Eight at once: on an empty home and on one that was fetched, the database stays sound and there is one champion."""

import shutil
from pathlib import Path

import numpy as np
from faulting import World, begun, champions, command, content, log, orphans, rounds, spoken, statuses

from core.home import Home

EIGHT = 8


@rounds("first starts at once")
def test_eight_first_starts_at_once_fetch_one_market(world: World, tmp_path: Path, count: int) -> None:
    for turn in range(count):
        home, outs = Home(tmp_path / f"home{turn}"), [tmp_path / f"{turn}-{number}" for number in range(EIGHT)]
        words = ("--home", home.folder, "fetch", "--provider", "files", "--path", world.drop)
        children = [begun(command, out, *words) for out in outs]
        for child in children:
            child.join()
        said = [out.read_text() for child, out in zip(children, outs, strict=True) if child.exitcode]
        assert len(said) < EIGHT
        assert all("is in use by another altrally process" in text and text.count("\n") == 1 for text in said), said
        assert content(home) == content(world.fetched)
        assert sorted(file.name for file in home.folder.iterdir()) == ["cache", "store.duckdb", "store.lock"]


@rounds("trainings at once")
def test_eight_first_trainings_at_once_make_one_champion(world: World, tmp_path: Path, count: int) -> None:
    for turn in range(count):
        home = Home(tmp_path / f"home{turn}")
        shutil.copytree(world.fetched.folder, home.folder)
        children = [begun(log, home, world.learnt) for _ in range(EIGHT)]
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0] * EIGHT
        assert statuses(home) == ["FINISHED"] * 2 * EIGHT
        assert champions(home) == 1
        assert orphans(home) == []
        np.testing.assert_allclose(spoken(home), spoken(world.trained), rtol=0, atol=1e-12)
        shutil.rmtree(home.folder)
