"""The former name of ``pipelines.steps.models.registered_model``, kept until 0.2.0.

The reason: models registered before the upgrade name it as their loader.
"""

from pipelines.steps.models.registered_model import _load_pyfunc

__all__ = ["_load_pyfunc"]
