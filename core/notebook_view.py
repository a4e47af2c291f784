"""How a result is shown in a notebook: a sentence over a table."""

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class NotebookView:
    """A result with a table, `frame()`, and a sentence, `headline`; a notebook shows both."""

    @property
    def headline(self) -> str:
        """What the result says, in a sentence or two."""
        raise NotImplementedError

    def frame(self) -> "pd.DataFrame":
        """The result as a table."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.headline)}</p>{self.frame().to_html(index=False, escape=True, na_rep='–')}"
