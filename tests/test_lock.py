"""What is installed is what was locked: every package pinned, hashed, from no address, and installed in that version."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def locked() -> dict[str, str]:
    """Requirement -> the rest of its entry."""
    joined = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {line.split(" --hash")[0].strip(): line for line in lines}


LOCKED = locked()


@pytest.mark.parametrize("entry", LOCKED)
def test_every_entry_is_pinned_hashed_and_from_no_address(entry: str) -> None:
    requirement = Requirement(entry)
    assert requirement.url is None
    assert re.fullmatch(r"==[0-9][0-9A-Za-z.+!]*", str(requirement.specifier))
    assert HASH.findall(LOCKED[entry])
    assert HASH.sub("", LOCKED[entry]).strip() == entry, "no option may hide behind an entry"


def test_no_option_stands_between_the_entries() -> None:
    assert [entry for entry in LOCKED if entry.startswith("-")] == []


def test_what_is_installed_is_what_is_locked() -> None:
    wanted = [
        requirement for requirement in map(Requirement, LOCKED) if requirement.marker is None or requirement.marker.evaluate()
    ]
    found = {requirement.name: (installed(requirement.name), str(requirement.specifier)) for requirement in wanted}
    assert {name: pair for name, pair in found.items() if f"=={pair[0]}" != pair[1]} == {}


def installed(name: str) -> str:
    """The version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def test_everything_the_project_asks_for_is_locked() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = asked["project"]
    groups = [*project["optional-dependencies"].values(), *asked["dependency-groups"].values(), asked["build-system"]["requires"]]
    names = {canonicalize_name(Requirement(entry).name) for entry in LOCKED}
    texts = [*project["dependencies"], *(text for group in groups for text in group)]
    assert [text for text in texts if canonicalize_name(Requirement(text).name) not in names] == []
