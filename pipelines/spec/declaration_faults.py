"""Lists every fault of a declaration: a faulty field hides no fault of the fields beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from pipelines.spec.examples import EXAMPLES, example_of
from pipelines.spec.fault_text import WHOLE_FILE, FieldFaults, Place, dotted, faults

INVALID = object()
"""In place of the value of a field with a fault."""


@dataclass
class _Walk:
    """What a walk through a declaration knows and gathers."""

    faulty: frozenset[Place]
    """Places of the values that are not valid by themselves."""
    check_faults: list[tuple[Place, str]] = field(default_factory=list)
    """Faults of checks over several fields."""
    examples: dict[Place, str] = field(default_factory=dict)
    """What to write for each required field that is missing."""


def declaration_faults(kind: type[BaseModel], content: Mapping[str, Any], error: ValidationError) -> list[str]:
    """``<place>: what is wrong`` for every fault of ``content``, which ``kind`` refused with ``error``.

    pydantic runs the checks over several fields of a block only if each of its fields is valid. Here they run on the
    valid ones, and a check that reads a faulty field says nothing.
    """
    texts = dict(faults(error))
    walk = _Walk(frozenset(texts))
    _block(kind, content, (), walk)
    for place, text in walk.check_faults:
        if text not in texts.get(place, ""):
            texts[place] = "; ".join(filter(None, [texts.get(place), text]))
    return [
        f"{dotted(place) or WHOLE_FILE}: {_with_example(text, walk.examples.get(place))}"
        for place, text in texts.items()
    ]


def _with_example(text: str, example: str | None) -> str:
    """A text that has an example of its own needs no other."""
    return text if example is None or "as in" in text else f"{text}{example}"


def _block(kind: type[BaseModel], content: Any, place: Place, walk: _Walk) -> Any:
    """The block with its valid fields alone; ``INVALID`` if the content has no fields."""
    content = _prepared(kind, content)
    if not isinstance(content, Mapping):
        required = [name for name, info in kind.model_fields.items() if info.is_required()]
        if place and required and all(name in EXAMPLES.get(kind.__name__, ()) for name in required):
            fields = ", ".join(f"{name}: {EXAMPLES[kind.__name__][name]}" for name in required)
            walk.examples[place] = f"; write fields, as in `{{{fields}}}`"
        return INVALID
    values: dict[str, Any] = {}
    for name, info in kind.model_fields.items():
        written = info.alias or name
        if written in content:
            values[name] = _value(kind, name, content[written], (*place, written), walk)
        elif info.is_required():
            values[name] = INVALID
            walk.examples[(*place, written)] = example_of(kind, name)
        else:
            values[name] = info.get_default(call_default_factory=True)
    block = kind.model_construct(_fields_set={name for name in kind.model_fields if name in content})
    valid = {name: value for name, value in values.items() if value is not INVALID}
    block.__dict__.clear()
    block.__dict__.update(valid)
    for place_below, text in _failed_checks(block):
        walk.check_faults.append(((*place, *place_below), text))
    return block


def _prepared(kind: type[BaseModel], content: Any) -> Any:
    """The content as the block's own reading of short forms leaves it."""
    for name, validator in kind.__pydantic_decorators__.model_validators.items():
        if validator.info.mode == "before":
            try:
                content = getattr(kind, name)(content)
            except (TypeError, ValueError):
                return INVALID
    return content


def _failed_checks(block: BaseModel) -> Iterator[tuple[Place, str]]:
    """Place below the block and text of each failed check over several fields."""
    for name, validator in type(block).__pydantic_decorators__.model_validators.items():
        if validator.info.mode != "after":
            continue
        try:
            getattr(block, name)()
        except AttributeError:  # it reads a field that is not valid
            continue
        except FieldFaults as error:
            yield from ((tuple(below.split(".")) if below else (), text) for below, text in error.faults)
        except ValueError as error:
            yield (), str(error)


def _value(kind: type[BaseModel], name: str, content: Any, place: Place, walk: _Walk) -> Any:
    try:
        value = _adapter(kind, name).validate_python(content)
    except ValidationError:
        info = kind.model_fields[name]
        value = _part(info.annotation, content, place, walk, info.discriminator)
    is_whole = isinstance(value, BaseModel | Mapping | Sequence) and not isinstance(value, str)
    return INVALID if place in walk.faulty and not is_whole else value


@cache
def _adapter(kind: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """Reads one field of the block as the block does, but for the block's own checks of the field."""
    info = kind.model_fields[name]
    annotation: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    if info.discriminator:
        annotation = Annotated[annotation, Field(discriminator=info.discriminator)]
    return TypeAdapter(annotation)


def _part(annotation: Any, content: Any, place: Place, walk: _Walk, discriminator: Any = None) -> Any:
    """What is valid of a value with faults: a block, or a list or mapping of blocks."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        tag = next((item.discriminator for item in arguments[1:] if isinstance(item, FieldInfo)), None)
        return _part(arguments[0], content, place, walk, tag or discriminator)
    if origin in (Union, UnionType):
        return _alternative(arguments, content, place, walk, discriminator)
    if origin is dict and isinstance(content, Mapping):
        parts: Any = {name: _part(arguments[1], value, (*place, name), walk) for name, value in content.items()}
        return INVALID if any(part is INVALID for part in parts.values()) else parts
    if origin is list and isinstance(content, list):
        parts = [_part(arguments[0], value, (*place, number), walk) for number, value in enumerate(content)]
        return INVALID if any(part is INVALID for part in parts) else parts
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        try:
            return annotation.model_validate(content)
        except ValidationError:
            return _block(annotation, content, place, walk)
    return INVALID


def _alternative(types: tuple[Any, ...], content: Any, place: Place, walk: _Walk, discriminator: Any) -> Any:
    """The value by the type that its discriminator names, or by the only type that there is beside null."""
    types = tuple(alternative for alternative in types if alternative is not NoneType)
    if discriminator is None:
        return _part(types[0], content, place, walk) if len(types) == 1 else INVALID
    tags = {tag: block for block in types for tag in _tags(block, discriminator)}
    tag = content.get(discriminator) if isinstance(content, Mapping) else None
    if isinstance(content, Mapping) and discriminator not in content:
        walk.examples[place] = f": write `{discriminator}: {next(iter(tags))}`, or {', '.join(list(tags)[1:])}"
    return _block(tags[tag], content, (*place, tag), walk) if isinstance(tag, str) and tag in tags else INVALID


def _tags(block: type[BaseModel], discriminator: str) -> tuple[Any, ...]:
    annotation = block.model_fields[discriminator].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()
