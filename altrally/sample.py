"""A small folder of simulated files in the drop-in layout, to start from with data of one's own."""

from pathlib import Path

from core.errors import BadInput
from sources.files import ABOUT_SAMPLE
from sources.simulated import simulate

START, END = "2017-01-01", "2024-12-31"
STOCKS, COINS = 8, 20
TEXT = """The files in this folder are simulated: nothing in them is about a real market.
They show the layout that `altrally fetch --provider files --path DIR` reads. Replace them by your own, one by one or all;
every file may be left out. docs/own-data.md says what each column means.
"""


def write_sample(folder: Path) -> list[Path]:
    """The files written: six tables as CSV, and a text that says that they are simulated.

    Raises `BadInput` where the folder holds anything already, or can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadInput(f"{folder} isn't empty, and a sample overwrites nothing. Name a new folder.")
        written = [folder / ABOUT_SAMPLE]
        written[0].write_text(TEXT, encoding="utf-8")
        for stem, frame in simulate(start=START, end=END, stocks=STOCKS, coins=COINS).items():
            written.append(folder / f"{stem}.csv")
            frame.to_csv(written[-1], index=False, float_format="%.6g", date_format="%Y-%m-%d")
    except OSError as error:
        raise BadInput(f"The sample can't be written to {folder}: {error.strerror or error}.") from None
    return written
