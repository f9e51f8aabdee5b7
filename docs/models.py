"""What mkdocstrings does not see by itself: the arguments of a Pydantic model are its fields."""

import re

import griffe

_DEFAULT = re.compile(r"\bdefault=([^,)]+)")
_FACTORY = re.compile(r"\bdefault_factory=(\w+)")


class Models(griffe.Extension):
    """Gives each model a constructor."""

    def on_class(self, *, cls: griffe.Class, loader: griffe.GriffeLoader, **kwargs: object) -> None:
        """Make it from the fields, if the class is a model."""
        if "__init__" in cls.members or "BaseModel" not in map(str, cls.bases):
            return
        fields = [_parameter(each) for each in cls.attributes.values() if each.annotation and each.name[0] != "_"]
        given = griffe.Parameters(griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword), *fields)
        cls.set_member("__init__", griffe.Function("__init__", parameters=given, lineno=cls.lineno))


def _parameter(field: griffe.Attribute) -> griffe.Parameter:
    value = None if field.value is None else str(field.value)
    if value and value.startswith("Field("):
        found, made = _DEFAULT.search(value), _FACTORY.search(value)
        value = found[1] if found else f"{made[1]}()" if made else None
    kind = griffe.ParameterKind.keyword_only
    return griffe.Parameter(field.name, annotation=field.annotation, kind=kind, default=value)
