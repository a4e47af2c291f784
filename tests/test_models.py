"""Laws every model keeps, and formulas worked by hand."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from core.errors import Refused, UnknownName
from models.base import HorizonModel
from models.boosted import Boosted
from models.catalog import COMPOSITES, KINDS, MODELS, default_model
from models.hazard import Hazard
from models.logit import RidgeLogit
from models.random_walk import RandomWalk
from models.ridge_newton import INTERCEPT_PENALTY
from models.rules import Climatology, ConditionalRate
from models.volatility import Volatility

WEEKS = 400
PASSAGE_MODELS = [name for name, spec in MODELS.items() if "first_passage" in spec.kinds]
UNLEARNT = ("volatility", "random_walk")
every_passage_model = pytest.mark.parametrize("name", PASSAGE_MODELS)


def market(seed: int = 0, rows: int = WEEKS, strength: float = 0.0) -> tuple[pd.DataFrame, np.ndarray]:
    """Inputs of every model and nested outcomes (n, 3), whose odds rise with `strength` × composites; the last weeks are open."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.standard_normal((rows, len(COMPOSITES))), columns=list(COMPOSITES))
    signal = strength * X.sum(axis=1).to_numpy()
    X["altcoin_volatility"] = 0.05 * np.exp(0.3 * rng.standard_normal(rows))
    X["altcoin_momentum"] = 0.5 * rng.standard_normal(rows) + 0.3 * signal
    X["rise_from_low"] = np.maximum(0, rng.standard_normal(rows) + signal)
    X["days_since_breakout"] = np.maximum(1, rng.uniform(0, 400, rows) - 100 * signal)
    X["altcoin_season"] = np.clip(rng.uniform(size=rows) + 0.3 * signal, 0, 1)
    hazards = 1 / (1 + np.exp(-(np.array([-1.2, -1.4, -1.8]) + signal[:, None])))
    Y = np.maximum.accumulate(rng.uniform(size=(rows, 3)) < hazards, axis=1).astype(float)
    for k, weeks in enumerate((4, 8, 12)):
        Y[rows - weeks :, k] = np.nan
    X["blended_volatility"] = 0.05 * np.exp(0.2 * rng.standard_normal(rows))
    return X, Y


def quick(name: str, kind: str = "first_passage", threshold: float = 0.3) -> HorizonModel:
    model = MODELS[name].make(kind, threshold)
    return model.set_params(trees=12, leaf_rows=20) if isinstance(model, Boosted) else model


def fitted(name: str, seed: int = 0, strength: float = 0.0) -> tuple[HorizonModel, pd.DataFrame, np.ndarray]:
    X, Y = market(seed, strength=strength)
    columns = X[list(MODELS[name].columns)]
    return quick(name).fit(columns, Y), columns, Y


def bootstrap(B: int, rows: int = WEEKS, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=B).astype(float)


class TestEveryModel:
    @every_passage_model
    @settings(max_examples=8, deadline=None)
    @given(seed=st.integers(0, 10**6), rows=st.integers(40, 200), missing=st.floats(0, 0.9))
    def test_probabilities_never_fall_with_the_horizon(self, name: str, seed: int, rows: int, missing: float) -> None:
        X, Y = market(seed, rows, strength=0.5)
        rng = np.random.default_rng(seed)
        X = X[list(MODELS[name].columns)].mask(rng.uniform(size=(rows, len(MODELS[name].columns))) < missing / 4)
        model = quick(name).fit(X, Y).fit_draws(X, Y, bootstrap(3, rows))
        for P in (model.predict(X), *model.predict_draws(X)):
            assert ((P >= 0) & (P <= 1)).all()
            assert (np.diff(P, axis=1) >= 0).all()

    @every_passage_model
    def test_inputs_of_a_row_without_any_outcome_do_not_matter(self, name: str) -> None:
        X, Y = market()
        X = X[list(MODELS[name].columns)]
        Y[100] = np.nan
        changed = X.copy()
        changed.iloc[100] = 9.0
        np.testing.assert_array_equal(quick(name).fit(X, Y).predict(X[:50]), quick(name).fit(changed, Y).predict(X[:50]))

    @every_passage_model
    def test_a_missing_input_is_answered_with_climatology(self, name: str) -> None:
        model, X, Y = fitted(name)
        unknown = X.iloc[:2] * np.nan
        np.testing.assert_allclose(model.predict(unknown), np.tile(np.maximum.accumulate(np.nanmean(Y, axis=0)), (2, 1)))

    @every_passage_model
    def test_nothing_but_missing_inputs_leaves_climatology(self, name: str) -> None:
        X, Y = market()
        X = X[list(MODELS[name].columns)]
        model = quick(name).fit(X * np.nan, Y).fit_draws(X * np.nan, Y, bootstrap(3))
        climatology = np.maximum.accumulate(np.nanmean(Y, axis=0))
        np.testing.assert_allclose(model.predict(X), np.tile(climatology, (WEEKS, 1)))
        assert model.predict_draws(X).shape == (3, WEEKS, 3)

    @every_passage_model
    def test_a_row_is_answered_the_same_alone_and_among_others(self, name: str) -> None:
        model, X, Y = fitted(name)
        model.fit_draws(X, Y, bootstrap(3))
        together, draws = model.predict(X), model.predict_draws(X)
        for row in (0, 7, 399):
            np.testing.assert_array_equal(model.predict(X.iloc[[row]])[0], together[row])
            np.testing.assert_array_equal(model.predict_draws(X.iloc[[row]])[:, 0], draws[:, row])

    @every_passage_model
    def test_columns_are_found_by_position_in_an_array(self, name: str) -> None:
        model, X, _ = fitted(name)
        np.testing.assert_array_equal(model.predict(X.to_numpy()), model.predict(X))

    @every_passage_model
    def test_columns_under_other_names_are_refused(self, name: str) -> None:
        model, X, _ = fitted(name)
        with pytest.raises(ValueError, match="feature names"):
            model.predict(X.add_suffix("?"))

    @every_passage_model
    def test_infinite_inputs_are_refused(self, name: str) -> None:
        X, Y = market()
        X = X[list(MODELS[name].columns)]
        X.iloc[3, 0] = np.inf
        with pytest.raises(ValueError, match="infinity"):
            quick(name).fit(X, Y)

    @every_passage_model
    def test_a_horizon_without_outcomes_is_refused(self, name: str) -> None:
        X, Y = market()
        Y[:, 2] = np.nan
        with pytest.raises(ValueError, match="horizon 3 of 3"):
            quick(name).fit(X[list(MODELS[name].columns)], Y)

    @pytest.mark.parametrize("name", [name for name in PASSAGE_MODELS if name not in UNLEARNT])
    @pytest.mark.parametrize("known", [1, 2])
    def test_rows_censored_later_still_teach_the_horizons_that_are_over(self, name: str, known: int) -> None:
        X, Y = market()
        X = X[list(MODELS[name].columns)]
        Y[-20:, known:] = np.nan
        none, all_ = Y.copy(), Y.copy()
        none[-20:, :known], all_[-20:, :known] = 0, 1
        low, high = (quick(name).fit(X, outcomes).predict(X)[:, 0].mean() for outcomes in (none, all_))
        assert high > low


class TestDraws:
    @every_passage_model
    def test_a_draw_with_every_row_once_is_the_fit(self, name: str) -> None:
        model, X, Y = fitted(name)
        model.fit_draws(X, Y, np.ones((2, WEEKS)))
        for draw in model.predict_draws(X):
            np.testing.assert_allclose(draw, model.predict(X), rtol=0, atol=1e-10)

    @every_passage_model
    def test_draws_are_repeatable(self, name: str) -> None:
        model, X, Y = fitted(name)
        first = model.fit_draws(X, Y, bootstrap(4)).predict_draws(X)
        again = clone(model).fit(X, Y).fit_draws(X, Y, bootstrap(4)).predict_draws(X)
        np.testing.assert_array_equal(first, again)

    @every_passage_model
    def test_a_draw_is_the_fit_of_its_weighting(self, name: str) -> None:
        model, X, Y = fitted(name)
        weights = bootstrap(3)
        draws = model.fit_draws(X, Y, weights).predict_draws(X)
        for row, draw in zip(weights, draws, strict=True):
            alone = clone(model).fit(X, Y, row).predict(X)
            np.testing.assert_allclose(draw, alone, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("name", [name for name in PASSAGE_MODELS if name not in UNLEARNT])
    def test_draws_spread(self, name: str) -> None:
        model, X, Y = fitted(name)
        assert model.fit_draws(X, Y, bootstrap(4)).predict_draws(X[:1])[:, 0, 0].std() > 0

    @pytest.mark.parametrize("name", UNLEARNT)
    def test_a_law_without_slopes_has_nothing_to_learn(self, name: str) -> None:
        model, X, Y = fitted(name)
        draws = model.fit_draws(X, Y, bootstrap(4)).predict_draws(X)
        np.testing.assert_array_equal(draws, np.stack([model.predict(X)] * 4))

    def test_a_new_fit_forgets_earlier_draws(self) -> None:
        model, X, Y = fitted("hazard")
        model.fit_draws(X, Y, bootstrap(2)).fit(X, Y)
        with pytest.raises(Refused, match="without refits"):
            model.predict_draws(X)

    @pytest.mark.parametrize("weights", [np.ones((2, 3)), np.ones(WEEKS), -np.ones((2, WEEKS)), np.zeros((2, WEEKS))])
    def test_weights_of_another_shape_or_sign_are_refused(self, weights: np.ndarray) -> None:
        model, X, Y = fitted("hazard")
        with pytest.raises(ValueError, match=r"[Ww]eights must"):
            model.fit_draws(X, Y, weights)

    def test_boosted_draws_spread_over_processes_are_those_made_one_by_one(self) -> None:
        model, X, Y = fitted("boosted")
        weights = bootstrap(9)
        spread = model.fit_draws(X, Y, weights).predict_draws(X)
        alone = [model.fit_draws(X, Y, weights[[draw]]).predict_draws(X)[0] for draw in range(9)]
        np.testing.assert_array_equal(spread, alone)


LEARNERS = ["momentum", "breakout_rule", "altseason_rule", "hazard", "boosted", "logit"]


class TestSkill:
    @pytest.mark.parametrize("name", LEARNERS)
    def test_a_planted_signal_is_learnt(self, name: str) -> None:
        model, *_ = fitted(name, strength=0.6)
        X, Y = market(seed=99, strength=0.6)
        known = ~np.isnan(Y[:, 1])
        auc = roc_auc_score(Y[known, 1], model.predict(X[list(MODELS[name].columns)])[known, 1])
        assert auc > 0.62

    @pytest.mark.parametrize("name", LEARNERS)
    def test_without_a_signal_climatology_is_hardly_left(self, name: str) -> None:
        losses = []
        for seed in range(3):
            model, *_ = fitted(name, seed=seed)
            X, Y = market(seed=seed + 50)
            known = ~np.isnan(Y[:, 1])
            P = model.predict(X[list(MODELS[name].columns)])[known, 1]
            losses.append(
                brier_score_loss(Y[known, 1], P) / brier_score_loss(Y[known, 1], np.full(known.sum(), model.base_rates_[1]))
            )
        assert np.mean(losses) < 1.05

    def test_boosting_never_lowers_the_probability_when_an_input_rises(self) -> None:
        model, X, _ = fitted("boosted", strength=0.5)
        for column in COMPOSITES:
            raised = X.copy()
            raised[column] += 1
            assert (model.predict(raised) >= model.predict(X) - 1e-12).all()


class TestClimatology:
    def test_shares_of_known_outcomes(self) -> None:
        Y = np.array([[0, 1, 1], [0, 0, 1], [1, 1, np.nan], [0, 0, np.nan]])
        np.testing.assert_allclose(Climatology().fit(np.zeros((4, 1)), Y).predict(np.zeros((1, 1))), [[0.25, 0.5, 1.0]])

    def test_shares_that_fall_with_the_horizon_are_ordered_only_where_events_are_nested(self) -> None:
        Y = np.array([[1, 1], [1, np.nan], [0, 0]])
        X = np.zeros((3, 1))
        np.testing.assert_allclose(Climatology().fit(X, Y).predict(X[:1]), [[2 / 3, 2 / 3]])
        np.testing.assert_allclose(Climatology(ordered=False).fit(X, Y).predict(X[:1]), [[2 / 3, 1 / 2]])

    def test_a_weighting_without_a_known_outcome_falls_back_on_all(self) -> None:
        Y = np.array([[1.0], [0.0], [np.nan]])
        draws = Climatology().fit_draws(np.zeros((3, 1)), Y, [[0, 0, 1]]).predict_draws(np.zeros((1, 1)))
        assert draws[0, 0, 0] == 0.5


def walked(sigma: float, rise: float, days: int, *, terminal: bool = False) -> float:
    """P of a random walk at one volatility."""
    model = RandomWalk(rise, (days,), terminal=terminal).fit(np.full((2, 1), sigma), np.array([0.0, 1.0]))
    return float(model.predict([[sigma]])[0, 0])


class TestRandomWalk:
    def test_first_passage_by_hand(self) -> None:
        """σ = 5 %, 60 days: (0.262364 + 0.5826·0.05) / (0.05·7.745967) = 0.752636 standard deviations; 2·Φ(−0.752636) = 0.4517."""
        P = walked(0.05, 0.30, 60)
        assert pytest.approx(2 * norm.cdf(-0.752636), abs=1e-6) == P
        assert pytest.approx(0.4517, abs=5e-5) == P

    def test_terminal_by_hand(self) -> None:
        """σ = 4 %, 90 days, 20 %: 0.182322 / (0.04·9.486833) = 0.480462 standard deviations; Φ(−0.480462) = 0.31545."""
        P = walked(0.04, 0.20, 90, terminal=True)
        assert pytest.approx(0.31545, abs=5e-6) == P

    def test_it_is_the_share_of_simulated_walks(self) -> None:
        steps = 0.06 * np.random.default_rng(0).standard_normal((40_000, 60))
        highest = np.cumsum(steps, axis=1).max(axis=1)
        simulated = (highest >= np.log(1.3)).mean()
        assert walked(0.06, 0.3, 60) == pytest.approx(simulated, abs=0.01)

    def test_a_price_that_does_not_move_counts_as_missing(self) -> None:
        model, X, _ = fitted("random_walk")
        still = X[:1] * 0
        np.testing.assert_array_equal(model.predict(still), model.predict(still * np.nan))

    @pytest.mark.parametrize("model", [RandomWalk(), Volatility()])
    def test_horizons_must_match_the_outcomes(self, model: HorizonModel) -> None:
        with pytest.raises(ValueError, match="3 horizons are named"):
            model.fit(np.full((4, 1), 0.05), np.array([0.0, 1, 0, 1]))


class TestConditionalRate:
    X = np.array([[1.0], [1], [1], [0], [0], [0], [0]])
    Y = np.array([1.0, 1, 0, 0, 1, 0, 0])

    def test_shares_on_either_side(self) -> None:
        model = ConditionalRate(1.0, prior_weeks=0).fit(self.X, self.Y)
        np.testing.assert_allclose(model.predict([[1.0], [0.0]]).ravel(), [2 / 3, 1 / 4])

    def test_shrunk_by_hand(self) -> None:
        """Base rate 3/7; with 7 prior weeks: (2 + 3) / (3 + 7) inside, (1 + 3) / (4 + 7) outside."""
        model = ConditionalRate(1.0, prior_weeks=7).fit(self.X, self.Y)
        np.testing.assert_allclose(model.predict([[1.0], [0.0]]).ravel(), [0.5, 4 / 11])

    def test_below_a_threshold(self) -> None:
        model = ConditionalRate(0.5, above=False, prior_weeks=0).fit(self.X, self.Y)
        np.testing.assert_allclose(model.predict([[0.0], [1.0]]).ravel(), [1 / 4, 2 / 3])

    def test_a_side_never_seen_gets_climatology(self) -> None:
        model = ConditionalRate(5.0, prior_weeks=0).fit(self.X, self.Y)
        np.testing.assert_allclose(model.predict([[6.0]]), [[3 / 7]])


class TestHazard:
    def test_same_as_scikit_learn_on_person_period_rows_built_by_hand(self) -> None:
        X, Y = market(strength=0.3)
        X = X[list(COMPOSITES)].to_numpy()
        model = Hazard().fit(X, Y)
        design, events = [], []
        for x, y in zip(X, Y, strict=True):
            for k in range(3):
                if np.isnan(y[k]) or (k and y[k - 1] == 1):
                    break
                design.append([*np.eye(3)[k], *x])
                events.append(y[k])
        strength = model.overlap / model.prior_sd**2
        stretch = np.array([np.sqrt(strength / INTERCEPT_PENALTY)] * 3 + [1.0] * 6)
        theirs = LogisticRegression(C=1 / strength, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=1000)
        theirs.fit(np.array(design) * stretch, events)
        np.testing.assert_allclose(model.parameters_, theirs.coef_[0] * stretch, atol=1e-7)
        np.testing.assert_allclose(model.coef_, theirs.coef_[0, 3:], atol=1e-8)

    def test_probabilities_by_hand(self) -> None:
        """Of 8 rows 2 have the event in the first interval, and 3 of the other 6 in the second: P = 1/4, 1/4 + 3/4 · 1/2."""
        Y = np.array([[1, 1]] * 2 + [[0, 1]] * 3 + [[0, 0]] * 3)
        np.testing.assert_allclose(Hazard().fit(np.zeros((8, 1)), Y).predict([[0.0]]), [[0.25, 0.625]], atol=1e-3)

    def test_censored_rows_inform_the_intervals_that_are_over(self) -> None:
        X = np.zeros((12, 1))
        Y = np.array([[0, 0]] * 4 + [[1, 1]] * 4 + [[0, np.nan]] * 4, dtype=float)
        P = Hazard().fit(X, Y).predict(X[:1])
        assert P[0, 0] == pytest.approx(4 / 12, abs=1e-3)

    def test_what_follows_an_unknown_horizon_is_not_read(self) -> None:
        X, Y = market(strength=0.3)
        early, late = Y.copy(), Y.copy()
        early[100:160, 1:] = np.nan
        late[100:160, 1] = np.nan
        fits = [Hazard().fit(X[list(COMPOSITES)], outcomes).parameters_ for outcomes in (early, late)]
        np.testing.assert_array_equal(*fits)

    def test_outcomes_that_are_not_nested_are_refused(self) -> None:
        with pytest.raises(ValueError, match="row 1 has an event"):
            Hazard().fit(np.zeros((2, 1)), np.array([[0, 1], [1, 0]]))

    def test_a_tighter_prior_shrinks_slopes_towards_none(self) -> None:
        X, Y = market(strength=0.5)
        sizes = [np.abs(Hazard(prior_sd=sd).fit(X[list(COMPOSITES)], Y).coef_).sum() for sd in (0.01, 0.1, 0.3, 1.0)]
        assert sizes == sorted(sizes)
        assert sizes[0] < 0.05

    def test_slopes_of_a_model_that_learnt_nothing_are_refused(self) -> None:
        model = Hazard().fit(np.full((4, 1), np.nan), np.array([0.0, 1, 0, 1]))
        with pytest.raises(ValueError, match="nothing but climatology"):
            _ = model.coef_


class TestLogit:
    def test_same_as_scikit_learn_horizon_by_horizon(self) -> None:
        X, Y = market(strength=0.3)
        X = X[list(COMPOSITES)].to_numpy()
        model = RidgeLogit(ordered=False).fit(X, Y)
        for k in range(3):
            known = ~np.isnan(Y[:, k])
            theirs = LogisticRegression(C=model.prior_sd**2 / model.overlap, solver="newton-cholesky", tol=1e-12)
            theirs.fit(X[known], Y[known, k])
            np.testing.assert_allclose(model.coef_[k], theirs.coef_[0], atol=1e-6)
            np.testing.assert_allclose(model.predict(X)[:, k], theirs.predict_proba(X)[:, 1], atol=1e-5)

    def test_standardised_inputs_make_units_irrelevant(self) -> None:
        X, Y = market(strength=0.3)
        X = X[["altcoin_momentum"]].to_numpy()
        plain, scaled = (RidgeLogit(standardise=True).fit(inputs, Y).predict(inputs) for inputs in (X, 100 * X))
        np.testing.assert_allclose(plain, scaled, atol=1e-9)


class TestBoosted:
    def test_the_table_of_numbers_answers_as_scikit_learn_does(self) -> None:
        X, Y = market(strength=0.5)
        X = X[list(COMPOSITES)].to_numpy()
        model = Boosted(ordered=False).fit(X, Y)
        known = ~np.isnan(Y[:, 1])
        theirs = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=4, min_samples_leaf=60, learning_rate=0.05, l2_regularization=10, max_bins=32,
            monotonic_cst=np.ones(6, dtype=int), early_stopping=False, random_state=0,
        ).fit(X[known], Y[known, 1])  # fmt: skip
        np.testing.assert_allclose(model.predict(X)[:, 1], theirs.predict_proba(X)[:, 1], rtol=0, atol=1e-12)

    @pytest.mark.parametrize("event", [0.0, 1.0])
    def test_outcomes_all_alike_give_their_rate(self, event: float) -> None:
        X = np.random.default_rng(0).standard_normal((100, 2))
        assert Boosted().fit(X, np.full(100, event)).predict(X[:1]) == pytest.approx(event, abs=1e-5)


class TestCatalog:
    def test_columns_are_the_composites_and_raw_features(self) -> None:
        import_module("features.build")  # declares every feature
        from features.registry import BLOCKS, FEATURES

        assert COMPOSITES == BLOCKS
        for spec in MODELS.values():
            assert all(column in BLOCKS or column in FEATURES for column in spec.columns)

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_model_of_an_outcome_fits_it(self, kind: str) -> None:
        X, Y = market()
        Y = Y if kind == "first_passage" else Y[:, ::-1]
        for name, spec in MODELS.items():
            if kind in spec.kinds:
                P = quick(name, kind).fit(X[list(spec.columns)], Y).predict(X[list(spec.columns)])
                assert P.shape == (WEEKS, 3)

    @pytest.mark.parametrize(("kind", "instead"), [("terminal", "pool"), ("relative", "logit")])
    def test_the_hazard_is_refused_where_horizons_are_not_nested(self, kind: str, instead: str) -> None:
        with pytest.raises(Refused, match=f"--model {instead}"):
            MODELS["hazard"].make(kind, 0.2)

    def test_the_random_walk_has_no_say_against_bitcoin(self) -> None:
        with pytest.raises(Refused, match="relative"):
            MODELS["random_walk"].make("relative", 0.0)

    def test_an_unknown_outcome_is_named(self) -> None:
        with pytest.raises(UnknownName, match="Did you mean 'terminal'"):
            MODELS["logit"].make("termnal", 0.2)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_default_model_can_forecast_its_outcome(self, kind: str) -> None:
        assert kind in MODELS[default_model(kind)].kinds

    @pytest.mark.parametrize(
        ("name", "inside", "outside"),
        [("breakout_rule", 90.0, 91.0), ("altseason_rule", 0.75, 0.74)],
    )
    def test_rules_switch_where_they_say(self, name: str, inside: float, outside: float) -> None:
        X = np.array([[inside]] * 60 + [[outside]] * 60)
        Y = np.r_[np.ones(60), np.zeros(60)]
        model = quick(name).fit(X, Y)
        assert model.predict([[inside]])[0, 0] > 0.7 > 0.3 > model.predict([[outside]])[0, 0]


def test_a_model_without_rows_says_so() -> None:
    with pytest.raises(ValueError, match="minimum of 1"):
        Hazard().fit(np.empty((0, 2)), np.empty((0, 3)))
