"""All that a command may import, imported: what children of `faulting` are forked from. It opens nothing."""

from importlib import import_module

from mlflow.utils import requirements_utils

MODULES = (
    "altrally.cli",
    "altrally.jobs",
    "altrally.render",
    "altrally.watch",
    "arch.bootstrap",
    "git",
    "IPython",
    "matplotlib.backends.backend_agg",
    "mlflow.data",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "models.shapley",
    "opentelemetry.sdk.trace",
    "pyarrow.parquet",
    "skops.io",
    "sources.files",
    "statsmodels.api",
    "training.train",
)

for module in MODULES:
    import_module(module)
requirements_utils._init_modules_to_packages_map()
