"""The same snapshot and seed come to the same bits, whatever the hash seed, the threads, or the folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import SUPPORT

SCRIPT = SUPPORT / "determined.py"
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS")
OTHERS = {
    "another hash seed": ("1", "1", 1, False),
    "two threads, a random hash seed": ("random", "2", 2, False),
    "eight threads, in a moved home": ("4242", "8", 8, True),
}


def told(home: Path, hash_seed: str, pools: str, threads: int) -> dict[str, Any]:
    """What a process of its own says."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed} | dict.fromkeys(POOLS, pools)
    done = subprocess.run(
        [sys.executable, SCRIPT, home, str(threads)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def expected(small_home: Path) -> dict[str, Any]:
    return told(small_home, "0", "1", 1)


@pytest.mark.parametrize("other", OTHERS)
def test_features_are_the_same_bits_and_scores_the_same_numbers(
    small_home: Path, tmp_path: Path, expected: dict[str, Any], other: str
) -> None:
    hash_seed, pools, threads, moved = OTHERS[other]
    home = Path(shutil.copytree(small_home, tmp_path / "moved")) if moved else small_home
    again = told(home, hash_seed, pools, threads)
    assert (again["snapshot"], again["names"], again["features"]) == (expected["snapshot"], expected["names"], expected["features"])
    for mine, theirs in zip(again["scores"], expected["scores"], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
