"""The former name of ``pipelines.steps.models.registered_model`` until 0.2.0, for models registered earlier."""

from pipelines.steps.models.registered_model import _load_pyfunc

__all__ = ["_load_pyfunc"]
