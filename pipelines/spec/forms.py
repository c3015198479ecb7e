"""A block of several forms is read by the one field that tells them apart, and its faults are those of its form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.spec.declaration_faults import declaration_faults
from pipelines.spec.fault_text import WHOLE_FILE, FieldFaults


def one_of(forms: Mapping[str, type[BaseModel]], subject: str) -> Callable[[Any], Any]:
    """A validator that reads fields as the form whose field they have. ``forms``: name of that field to its class."""
    named = " or ".join(f"`{name}`" for name in forms)

    def read(value: Any) -> Any:
        if isinstance(value, tuple(forms.values())):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"must be fields, with {named} among them: {subject}")
        names = [name for name in forms if name in value]
        if len(names) != 1:
            fault = f"has {' and '.join(names)}, which exclude each other" if names else f"needs {named}"
            raise FieldFaults([("", f"{fault}: {subject}")])
        form = forms[names[0]]
        try:
            return form.model_validate(value)
        except ValidationError as error:
            listed = (fault.split(": ", 1) for fault in declaration_faults(form, value, error))
            raise FieldFaults([("" if place == WHOLE_FILE else place, text) for place, text in listed]) from error

    return read
