"""Whether a tracking server answers, asked once and briefly before anything long begins: MLflow would wait for minutes."""

import errno

from core.errors import BadInput, StoreUnusable, redacted

SECONDS_TO_CONNECT, SECONDS_TO_ANSWER = 4, 8
HEALTH = "/health"
DATABASES = ("postgresql", "mysql", "mssql")
PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}
"""What to install for the module a database's driver is in, where it isn't called the same."""

WITH_TIMEOUT = ("postgresql", "mysql")


def require_reachable(address: str) -> None:
    """Raise StoreUnusable where no tracking server answers at an address, BadInput where it can't be one or its driver isn't here.

    What isn't asked for over a network, or by a way that only MLflow knows, passes.
    """
    kind = address.partition(":")[0].partition("+")[0].lower()
    if kind in ("http", "https"):
        require_server(address)
    elif kind in DATABASES:
        require_database_server(address, kind)


def require_server(address: str) -> None:
    """An MLflow server answers, whatever it says. Nothing secret is sent, and nothing that comes is believed."""
    import httpx

    try:
        asked = httpx.URL(address.rstrip("/") + HEALTH).copy_with(username=None, password=None, query=None, fragment=None)
        timeout = httpx.Timeout(SECONDS_TO_ANSWER, connect=SECONDS_TO_CONNECT)
        httpx.get(asked, timeout=timeout, verify=False)
    except ImportError:  # of a proxy that httpx knows only by another package: MLflow may do
        return
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise BadInput(redacted(f"{address!r} is no address of a tracking server: {first_line(error)}.")) from None
    except httpx.HTTPError as error:
        raise nobody_answers(address, error) from None


def is_healthy(address: str) -> bool:
    """Whether an MLflow server says that it is well."""
    import httpx

    try:
        return httpx.get(address.rstrip("/") + HEALTH, timeout=SECONDS_TO_ANSWER, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def require_free_port(host: str, port: int) -> None:
    """Raise BadInput where another program listens on a port, or this user may not."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = "another program uses it" if error.errno == errno.EADDRINUSE else str(error.strerror)
            raise BadInput(f"--port {port} isn't free on {host}: {why}. Name another, as in --port {port + 1}.") from None


def require_database_server(address: str, kind: str) -> None:
    """A database server lets us in, by a driver that is installed."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    limit = {"connect_timeout": SECONDS_TO_ANSWER} if kind in WITH_TIMEOUT else {}
    try:
        with create_engine(address, poolclass=NullPool, connect_args=limit).connect():
            pass
    except ImportError as error:
        other = ", or begin it with postgresql+psycopg2://" if error.name == "psycopg" else ""
        why = f"The tracking address {address} needs the Python module {error.name}, which isn't installed here"
        raise BadInput(redacted(f"{why}: `pip install {PACKAGES.get(error.name or '', error.name)}`{other}.")) from None
    except (ArgumentError, ValueError) as error:
        raise BadInput(redacted(f"{address!r} is no address MLflow can track at: {first_line(error)}.")) from None
    except SQLAlchemyError as error:
        raise nobody_answers(address, getattr(error, "orig", None) or error) from None


def nobody_answers(address: str, error: BaseException) -> StoreUnusable:
    """The error of a server that can't be had now."""
    why = f"No tracking server answers at {address} ({first_line(error)})"
    return StoreUnusable(redacted(f"{why}. Start it, or name another with --tracking-server or MLFLOW_TRACKING_URI."))


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
