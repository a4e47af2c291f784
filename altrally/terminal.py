"""What a terminal's encoding can't show is shown by plain signs: output never fails for want of a sign."""

import codecs
import sys
from unicodedata import combining, normalize

HANDLER = "altrally.plain_signs"
PLAIN = {
    "●": "o",
    "━": "=",
    "│": "|",
    "·": ".",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "≥": ">=",
    "≤": "<=",
    "×": "x",
    "÷": "/",
    "±": "+/-",
    "→": "->",
    "Σ": "sum",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}
"""Signs of ours that ASCII lacks; accents are left out, and anything else becomes a question mark."""


def plain_signs() -> None:
    """From now on what this process prints is shown as well as the terminal can."""
    codecs.register_error(HANDLER, replaced)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def replaced(error: UnicodeError) -> tuple[str, int]:
    """Plain signs for those that couldn't be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


def plain(sign: str) -> str:
    """One sign in ASCII."""
    if sign in PLAIN:
        return PLAIN[sign]
    letters = [letter for letter in normalize("NFKD", sign) if not combining(letter)]
    return "".join(letter if letter.isascii() else "?" for letter in letters) or "?"
