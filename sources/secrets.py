"""What may be shown of an address or an error text: never a password, a token or a key."""

import re
from collections.abc import Mapping

CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@")
QUERY = re.compile(r"(\w+://[^\s?#'\"]*)\?[^\s'\"]*")
SECRET_VARIABLES = ("FRED_API_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def redacted(text: str) -> str:
    """`text` with user, password and query of every address in it replaced by ***."""
    return QUERY.sub(r"\1?***", CREDENTIALS.sub("***@", text))


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """As `redacted`, and without the values of the variables that hold secrets."""
    for value in (environment.get(name, "").strip() for name in SECRET_VARIABLES):
        text = text.replace(value, "***") if value else text
    return redacted(text)
