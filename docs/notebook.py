# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # altrally from Python
# What the command line does, in five calls: `fetch`, `train`, `score`, `verify`, `report`. Everything here happens on the
# **simulated market**, in which liquidity does move coins eight weeks later: nothing below is about the real one. For that,
# `fetch(home)`.
#
# Open this file as a notebook with `jupytext --to ipynb notebook.py`.

# %%
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from altrally.api import TrainSettings, fetch, open_home, report, score, train, verify

home = open_home("altrally-notebook")  # a folder; one home holds one market
fetched = fetch(home, "simulated")
pd.DataFrame(fetched.lines)[["label", "received", "new"]]

# %% [markdown]
# ## Train
# The default model alone, with fewer refits behind each interval and each p-value than the command makes, so that it takes
# seconds. What it is judged by are forecasts of days it had not seen.

# %%
quick = TrainSettings(models=("pool",), draws=40, rotations=60)
trained = train(home, quick)
Markdown(f"> {trained.sentence}")

# %% [markdown]
# ## Score
# The champion's forecast for the last day known. It is in the ledger before it is told.

# %%
issued = score(home)
pd.DataFrame(issued.score.horizons).set_index("days").round(2)

# %% [markdown]
# What moved it: log-odds of each block against its training mean.

# %%
pd.DataFrame(issued.score.drivers).sort_values("contribution", key=abs, ascending=False).set_index("block").round(2)

# %% [markdown]
# ## Verify
# Any span of days, beside the baselines. A look is a try: what is judged is counted.

# %%
judged = verify(home, quick, start=pd.Timestamp("2019-01-01"))
columns = ["model", "horizon", "n", "n_effective", "base_rate", "brier", "auc", "null_p", "best_of_n_p", "trials"]
pd.DataFrame(judged.rows)[columns].round(3)

# %% [markdown]
# ## Report
# The page for people, one HTML file.

# %%
page = report(home)
page.path.name, f"{len(page.html) / 1000:.0f} kB"

# %% [markdown]
# ## A picture
# The forecast 60 days ahead beside the base rate known on the same day. Shaded weeks were followed by a rally; the
# last weeks, whose 60 days aren't over, are left out.

# %%
days = judged.forecasts.query("horizon == 60").dropna(subset="outcome").set_index("as_of")
skill = next(row["skill_climatology"] for row in judged.rows if row["horizon"] == 60)
came = days["outcome"].eq(1).to_numpy()

figure, axis = plt.subplots(figsize=(9.5, 3.4), layout="constrained")
axis.fill_between(days.index, 0, 1, where=came, step="mid", color="#f3c98b", alpha=0.6, lw=0, label="a rally followed")
axis.plot(days.index, days["probability"], color="#1f2a44", lw=1.2, label="forecast")
axis.plot(days.index, days["climatology"], color="#b45309", lw=1.2, ls="--", label="base rate")
axis.set(ylim=(0, 1), ylabel="P(+30 % within 60 days)")
axis.margins(x=0)
axis.spines[["top", "right"]].set_visible(False)
axis.set_title(
    f"Simulated market: 60-day Brier skill {skill['value']:+.2f} [{skill['low']:+.2f}, {skill['high']:+.2f}] against climatology",
    loc="left",
)
axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False)
plt.show()
