"""Facts of a page made by hand: fast, and every name in them may be hostile."""

from typing import Any

import pandas as pd

from altrally.forecast import Curve, Driver, HighestClose, HorizonForecast, Score
from altrally.live_evidence import LiveRow
from altrally.report.analogues import Analogue, Analogues
from altrally.report.content import Facts, FeatureState, IndexState, Movement
from altrally.report.contributions import Effects, Part, Sensitivity
from altrally.report.past_forecasts import Record, record
from altrally.report.rungs import Rung

HOSTILE = """</script><script>alert("1")</script><img src=x onerror='alert(2)'>"q' & {{ 7 * 7 }} ${8 * 8}"""
WEEKS = 40


def made_score(name: str, *, market: str, shown: bool = False) -> Score:
    """A forecast; `name` stands wherever data has names."""
    sentence = f"Skill has {'' if shown else 'not '}been shown: {name}."
    skill = {"brier_skill_score": 0.1, "low": -0.1, "high": 0.2, "null_p": None, "shown": shown, "sentence": sentence}
    line = {"series": name, "observed": None, "known": None, "age_days": None, "limit_days": 7, "coverage": 0.0, "fresh": False}
    grade = "shown live" if shown else "not shown"
    evidence = {"grade": grade, "drift_p": 0.2, "ahead_of_all": True, "e_value": 1.5, "registered": None, "weeks": 0}
    return Score(
        as_of="2024-12-31",
        market=market,
        snapshot=name,
        model={"name": name, "version": name, "run_id": name},
        outcome={"kind": "first_passage", "threshold": 0.3},
        horizons=[HorizonForecast(days, 0.2 + days / 300, 0.1 + days / 400, 0.4 + days / 300, 0.3) for days in (30, 60, 90)],
        skill=skill | {"start": "2018-01-07", "end": "2024-10-27", "evidence": evidence | {"sentence": f"{grade}: {name}."}},
        drivers=[Driver(name, 0.3)],
        neutral=[name],
        in_sample=False,
        freshness=[line | {"message": f"{name}: missing"}],
        curve=made_curve(),
    )


def made_curve() -> Curve:
    """A curve of three rises, half as likely each time."""
    quantiles = {"0.1": 0.0, "0.25": 0.05, "0.5": 0.2, "0.75": 0.5, "0.9": 0.9}
    return Curve([0.0, 0.3, 1.0], [HighestClose(days, [0.9, 0.4, 0.1], quantiles) for days in (30, 60, 90)])


def made_row(model: str, days: int) -> dict[str, Any]:
    """A verification row with what can't be had left None."""
    skill = {"value": 0.05, "low": -0.05, "high": 0.15}
    unknown = dict.fromkeys(("null_p", "claim_null_p", "claim_null", "best_of_n_p", "trials"))
    scores = {"n": 300, "n_effective": 40.0, "brier": 0.22, "log_score": 0.64, "auc": None}
    skills = {f"skill_{name}": skill for name in ("volatility", "climatology", "random_walk", "momentum")}
    return {"model": model, "horizon": days} | scores | skills | unknown


def made_record(model: str) -> Record:
    """Forty weeks of forecasts, the last few not over."""
    days = pd.date_range("2024-03-31", periods=WEEKS, freq="7D")
    frames = [
        pd.DataFrame(
            {
                "as_of": days,
                "horizon": horizon,
                "probability": [0.2 + week % 7 / 10 for week in range(WEEKS)],
                "climatology": 0.3,
                "outcome": [float(week % 3 == 0) for week in range(WEEKS)],
            }
        )
        for horizon in (30, 60, 90)
    ]
    rows = [made_row(name, horizon) for name in (model, "climatology") for horizon in (30, 60, 90)]
    return record(pd.concat(frames), rows, pd.Timestamp("2024-12-31"), lag=pd.Timedelta(days=1))


def made_audit(name: str) -> dict[str, Any]:
    """An audit with one line of each verdict, a breakout and a row of the heat map."""
    evidence = {"n": 12, "needed": 0.1, "effect": 0.2, "low": 0.05, "high": 0.3, "p": 0.01, "placebo_p": 0.5, "missing": name}
    lines = [
        {"name": name, "claim": name, "measure": name, "evidence": evidence, "verdict": verdict}
        for verdict in ("supported", "not supported", "can't be told (n = 2)", name)
    ]
    event = {"kind": "record", "quiet": 252, "day": "2020-11-13", "close": 1744.0, "first_passage_days": None, "days_seen": 20}
    followed = {"altcoins": [{"days": 30, "value": 0.25, "highest": 0.3}]}
    correlations = {"weeks": 100, "lags": [-2, 0, 2], "correlation": [0.1, -0.3, None], "band": 0.1, "joint_band": 0.2}
    return {
        "rule": name,
        "chance": name,
        "lines": lines,
        "breakouts": {"events": [event | {"followed": followed, "unknown": name}]},
        "cascade": {"lead_lag": [{"driver": name, "target": name, "correlations": correlations}]},
    }


def made_analogues(*, percentile: float) -> Analogues:
    """Two similar moments, one of which rallied."""
    paths = [[1 + day / 100 for day in range(91)], [None, *[1 - day / 200 for day in range(90)]]]
    moments = [
        Analogue(day, 1.5, dict.fromkeys((30, 60, 90), came), path)
        for day, came, path in zip(("2020-11-01", "2016-11-06"), (True, False), paths, strict=True)
    ]
    return Analogues(moments, distance=3.2, percentile=percentile, rows=500, base_rates={30: 0.27, 60: 0.42, 90: 0.52})


def made_facts(
    name: str = "net_liquidity_growth", *, market: str = "files", shown: bool = False, percentile: float = 0.5, audit: bool = True
) -> Facts:
    """A whole page of facts."""
    parts = [Part("liquidity", name, 0.3), Part("liquidity", "reserves_growth", -0.1)]
    effects = Effects(start=-0.3, end=-0.1, blocks=[Part("liquidity", "liquidity", 0.2)], features=parts)
    state = FeatureState(name, "liquidity", name, name, name, value=0.01, z=1.2, z_before=None, stood_in_by="")
    rung = Rung(name, name, name, "log change", value=0.1, z=0.5, percentile=0.7, before=0.6, state="firm", direction="rising")
    return Facts(
        score=made_score(name, market=market, shown=shown),
        label=name,
        trained_as_of="2024-12-31",
        trials=65,
        drivers=effects,
        movement=Movement("2024-12-24", name, -0.35, -0.1, effects, Part("model", "model", 0.05)),
        sensitivities=[Sensitivity("liquidity", 0.3, 0.5)],
        rungs=[rung],
        analogues=made_analogues(percentile=percentile),
        record=made_record(name),
        features={name: state},
        index=IndexState(50, [(name, 0.25)], [(name, "2024-07-08")]),
        constituents=name,
        live=[LiveRow(name, name, "2024-06-02", 3, 1.2, 60, 2, 0.2, 0.21, {"volatility": 1.1})],
        audit=made_audit(name) if audit else None,
        backtest={"sentence": name, "columns": [name, name], "rows": [[name, name]], "notes": [name]} if audit else None,
    )
