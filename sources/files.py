"""Provider of a folder of CSV or Parquet files in the drop-in layout; any part of it may be absent."""

from calendar import day_name
from collections.abc import Iterator, Mapping, Sequence, Set
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import BadInput
from core.progress import Progress
from sources import layout
from sources.batches import Deliveries, Skipped
from sources.membership import doubts
from sources.redenomination import FILE, NAME, read_stated, units_of
from sources.schemas import ADVICE, READ_SERIES, READ_TICKERS, SHEETS, Checked
from sources.store import Store
from sources.tables import read_table

SUFFIXES = (".parquet", ".csv")
ABOUT_SAMPLE = "README.txt"
OTHER_SUFFIXES = (".tsv", ".txt", ".xlsx", ".xls", ".gz", ".zip", ".json", ".feather", ".pq", ".parq")
ALIKE = 0.8
A_SLIP = 0.85  # likeness of a name with one letter more, less or other than the right one
SESSIONS = ("prices", "constituents")
CLOSED_BY = 22  # o'clock UTC: US exchanges have closed, summer and winter
FEW = 5  # rows on weekends that may be a slip
MONDAY, FRIDAY, SATURDAY, SUNDAY = 0, 4, 5, 6


def batches(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Batches of the known files in the folder `path`. Raises `BadInput` before the first batch if any of them can't be trusted."""
    folder, files_by_stem = known_files(path)
    yield from (Skipped(file.name, f"read as {stem}.") for stem, file in files_by_stem.items() if file.stem.lower() != stem)
    yield from near_misses(folder, files_by_stem)
    stated = read_stated(files_by_stem.pop(NAME)) if NAME in files_by_stem else []
    if not files_by_stem:
        raise BadInput(f"{folder} holds {NAME} and nothing that it is about; add crypto.parquet or crypto.csv.")
    frames = {}
    for number, (stem, file) in enumerate(files_by_stem.items()):
        progress(f"reading {file.name}", number, len(files_by_stem))
        frames[stem], notes = read_table(file, SHEETS[stem].columns)
        yield from (Skipped(file.name, note) for note in notes)
    progress("checking", len(files_by_stem), len(files_by_stem))
    judged = layout.all_checked(frames, {stem: str(file) for stem, file in files_by_stem.items()}, today.normalize())
    frames.clear()
    for stem, (column, read) in {"prices": ("ticker", READ_TICKERS), "fred": ("series", READ_SERIES)}.items():
        if stem in judged:
            yield from misspelt(files_by_stem[stem].name, judged[stem].frame[column], read)
    if "membership" in judged:
        yield from doubts(judged["membership"].frame, store.stays(today))
    for stem, file in files_by_stem.items():
        judged[stem] = without_open_days(stem, judged[stem], file, today)
    yield from layout.cleaned(judged, "files", units_of(store, stated, folder / FILE, today))


def known_files(folder: Path | None) -> tuple[Path, dict[str, Path]]:
    """The folder, and the drop-in files in it by stem, whatever the case of their names."""
    layout_names = ", ".join(SHEETS)
    if folder is None:
        raise BadInput(f"Name the folder to read with --path DIR; it may hold {layout_names}, each as .parquet or .csv.")
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder; name one that holds any of {layout_names}, each as .parquet or .csv.")
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise BadInput(f"{folder} can't be read: {error.strerror or error}.") from None
    files_by_stem: dict[str, Path] = {}
    for file in files:
        stem = file.stem.lower()
        if file.suffix.lower() in SUFFIXES and stem in SHEETS and file.is_file():
            if stem in files_by_stem:
                raise BadInput(f"{folder} holds {file.name} and {files_by_stem[stem].name}; keep one of them.")
            files_by_stem[stem] = file
    files_by_stem |= understood(files, files_by_stem)
    if not files_by_stem:
        near = " ".join(f"{miss.label}: {miss.reason}" for miss in near_misses(folder, files_by_stem))
        raise BadInput(f"{folder} holds none of the drop-in files {layout_names}, each as .parquet or .csv. {near}".rstrip())
    return folder, {stem: files_by_stem[stem] for stem in SHEETS if stem in files_by_stem}


def understood(files: Sequence[Path], found: Mapping[str, Path]) -> dict[str, Path]:
    """Files, by the stem they are read as, whose name differs by a letter or two from that of one that is absent: price.csv.

    A name with a digit or a further word is no slip (crypto2, crypto_old), nor are two files that could be the same one.
    """
    meant: dict[str, list[Path]] = {}
    for file in files:
        name = file.stem.lower()
        if file.suffix.lower() in SUFFIXES and name.replace("_", "").isalpha() and file not in found.values():
            for stem in get_close_matches(name, SHEETS, n=1, cutoff=A_SLIP):
                meant.setdefault(stem, []).append(file)
    return {stem: slips[0] for stem, slips in meant.items() if len(slips) == 1 and stem not in found}


def near_misses(folder: Path, found: dict[str, Path]) -> Iterator[Skipped]:
    """Files beside the known ones whose name looks like a slip of the pen, or whose kind isn't read."""
    for file in sorted(folder.iterdir()):
        name, suffix = file.name.lower().partition(".")[0], file.suffix.lower()
        stem = meant_by(name) if suffix in SUFFIXES + OTHER_SUFFIXES and file not in found.values() else ""
        if not stem:
            continue
        if stem in found:
            yield Skipped(file.name, f"not read, as {found[stem].name} is.")
        elif suffix in SUFFIXES:
            yield Skipped(file.name, f"not read, as no drop-in file has that name; did you mean {stem}{suffix}?")
        else:
            yield Skipped(file.name, f"not read, as drop-in files end in .parquet or .csv; save it as {stem}.csv.")


def meant_by(name: str) -> str:
    """The stem of the drop-in file a name may be meant for: it is much alike, or begins so; empty if there is none."""
    near = get_close_matches(name, SHEETS, n=1, cutoff=ALIKE)
    begins = [stem for stem in SHEETS if name.startswith(stem) and not name[len(stem) : len(stem) + 1].isalpha()]
    return near[0] if near else max(begins, key=len, default="")


def misspelt(file: str, names: pd.Series, read: Set[str]) -> Iterator[Skipped]:
    """A line on each name that no feature reads and that is much like one that is absent."""
    written = [str(name) for name in names.cat.categories]
    absent = sorted(read - set(written))
    for name in written:
        near = get_close_matches(name.upper(), absent, n=1, cutoff=ALIKE) if name not in read else []
        if near:
            yield Skipped(file, f"{name!r} is stored, but no feature reads it; did you mean {near[0]!r}?")


def without_open_days(stem: str, judged: Checked, file: Path, today: pd.Timestamp) -> Checked:
    """`judged` without rows of days that weren't over when the file was written or now, and of weekends where nothing trades."""
    frame = judged.frame
    if "date" not in frame:
        return judged
    weekend = on_weekends(frame, stem, file) if stem in SESSIONS else np.zeros(len(frame), dtype=bool)
    running = (frame["date"] >= first_open_day(stem, frame["date"].max(), file, today)).to_numpy()
    counts = {"weekend": int((weekend & ~running).sum()), "running day": int(running.sum())}
    counts = {reason: count for reason, count in counts.items() if count}
    if not counts:
        return judged
    return Checked(frame[~(weekend | running)], judged.left_out | counts, judged.notes)


def first_open_day(stem: str, last: pd.Timestamp, file: Path, today: pd.Timestamp) -> pd.Timestamp:
    """The first day whose values aren't final: today, or the day on which the file was written, if that is its `last`."""
    written = pd.Timestamp(file.stat().st_mtime, unit="s")
    closed = stem in SESSIONS and written.hour >= CLOSED_BY
    return min(written.normalize(), today.normalize()) if last == written.normalize() and not closed else today.normalize()


def on_weekends(frame: pd.DataFrame, stem: str, file: Path) -> np.ndarray:
    """Which rows of shares and funds traded in the US fall on a Saturday or Sunday.

    Raises `BadInput` where they take the place of Mondays or Fridays: then all days are shifted.
    """
    weekday = (frame["date"].to_numpy().astype("datetime64[D]").astype(np.int64) + 3) % 7
    weekend = weekday >= 5
    if not weekend.any():
        return weekend
    shares = frame["ticker"].isin(READ_TICKERS).to_numpy() if stem == "prices" else np.ones(len(frame), dtype=bool)
    rows = [int((shares & (weekday == day)).sum()) for day in range(7)]
    for day, instead_of in ((SATURDAY, MONDAY), (SUNDAY, FRIDAY)):
        if rows[day] > max(rows[instead_of], FEW):
            names = f"a {day_name[day]}, more than on a {day_name[instead_of]}"
            raise BadInput(f"{file}: column 'date' puts {rows[day]} rows on {names}; its days seem shifted by one. {ADVICE}")
    return weekend & shares
