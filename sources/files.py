"""Provider of a folder of CSV or Parquet files in the drop-in layout; any part of it may be absent."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from sources import layout
from sources.batches import Deliveries, Skipped
from sources.errors import BadInput
from sources.membership import doubts
from sources.progress import Progress
from sources.schemas import SHEETS, checked
from sources.store import Store

SUFFIXES = (".parquet", ".csv")
BLANKS = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "."]


def batches(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Batches of the known files in the folder `path`. Raises `BadInput` before the first batch if any of them can't be trusted."""
    found = known_files(path)
    yield from near_misses(found)
    frames = {}
    for number, (stem, file) in enumerate(found.items()):
        progress(f"reading {file.name}", number, len(found))
        frames[stem] = read(file)
    progress("checking", len(found), len(found))
    deliveries = layout.batches(frames, "files", names={stem: str(file) for stem, file in found.items()}, latest=today.normalize())
    if "membership" in frames:
        stays = checked("membership", frames["membership"])
        yield from doubts(stays, store.stays(today))
    frames.clear()
    yield from deliveries


def known_files(folder: Path | None) -> dict[str, Path]:
    """The drop-in files in `folder`, by stem."""
    layout_names = ", ".join(SHEETS)
    if folder is None:
        raise BadInput(f"Name the folder to read with --path DIR; it may hold {layout_names}, each as .parquet or .csv.")
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder; name one that holds any of {layout_names}, each as .parquet or .csv.")
    found: dict[str, Path] = {}
    for stem in SHEETS:
        files = [folder / f"{stem}{suffix}" for suffix in SUFFIXES if (folder / f"{stem}{suffix}").is_file()]
        if len(files) > 1:
            raise BadInput(f"{folder} holds {files[0].name} and {files[1].name}; keep one of them.")
        if files:
            found[stem] = files[0]
    if not found:
        raise BadInput(f"{folder} holds none of the drop-in files {layout_names}, each as .parquet or .csv.")
    return found


def near_misses(found: dict[str, Path]) -> Iterator[Skipped]:
    """Files beside the known ones whose name looks like a slip of the pen."""
    folder = next(iter(found.values())).parent
    others = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES and file not in found.values()]
    for file in others:
        near = get_close_matches(file.stem.lower(), [stem for stem in SHEETS if stem not in found], n=1, cutoff=0.8)
        if near:
            yield Skipped(file.name, f"not read, as no drop-in file has that name; did you mean {near[0]}{file.suffix.lower()}?")


def read(file: Path) -> pd.DataFrame:
    """The rows of one drop-in file as they are written, names as text. Raises `BadInput` if it isn't what its suffix says."""
    try:
        if file.suffix == ".parquet":
            frame = pd.read_parquet(file)
            return frame.reset_index() if frame.index.name else frame
        return _read_csv(file)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        kind, why = "Parquet" if file.suffix == ".parquet" else "CSV", str(error).splitlines()[0].rstrip(".")
        raise BadInput(f"{file} can't be read as {kind}: {why}. Nothing was stored: replace it and fetch again.") from error


def _read_csv(file: Path) -> pd.DataFrame:
    """A ticker may be called NA or TRUE: only numbers may be blank."""
    columns = SHEETS[file.stem].columns
    text = {name: "str" for name, column in columns.items() if column.kind != "number"}
    numbers = {name: BLANKS for name, column in columns.items() if column.kind == "number"}
    frame = pd.read_csv(file, dtype=text, na_values=numbers, keep_default_na=False, low_memory=False, encoding="utf-8-sig")
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError("its rows have more cells than its first line has names")
    return frame
