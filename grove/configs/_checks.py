"""What is wrong with one document: everything at once, and each thing where it stands.

What a document may say is asked of the connector and the processors that it names. Of a connector that is no part of
Grove, fields that it does not declare are its own business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from grove.configs import _interpolation
from grove.configs._documents import Document
from grove.configs._problems import HIDDEN, Path, Problem, dotted, suggestion
from grove.constants import PLUGIN_GROUP_CONNECTOR, PLUGIN_GROUP_PROCESSOR
from grove.exceptions import ConfigurationException, DataFormatException
from grove.helpers import plugin
from grove.models import ConnectorConfig, ProcessorConfig, attribute_name

__all__ = ["built", "declarations", "is_built_in"]

_KINDS: dict[type, str] = {
    bool: "a boolean",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "a text",
    type(None): "null",
}

# What pydantic calls a kind of problem, what we call it, and how we say it where its own words are no sentence.
_CODES = {
    "missing": "missing-field",
    "extra_forbidden": "unknown-field",
    "bool_parsing": "wrong-type",
    "bool_type": "wrong-type",
    "dict_type": "wrong-type",
    "float_parsing": "wrong-type",
    "float_type": "wrong-type",
    "int_from_float": "wrong-type",
    "int_parsing": "wrong-type",
    "int_type": "wrong-type",
    "list_type": "wrong-type",
    "tuple_type": "wrong-type",
    "model_type": "wrong-type",
    "string_type": "wrong-type",
}
_WANTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "an object",
    "string_type": "a text",
}


def built(document: Document) -> tuple[ConnectorConfig | None, list[Problem]]:
    """The configuration that `document` describes, None where it is unusable, and everything that is wrong with it.

    ConfigurationException where GROVE_CONFIG_INTERPOLATE is.
    """
    check = _Check(document)
    config = check.run()
    if config is not None:
        config._origin = document
    return config, sorted(check.problems, key=lambda problem: (problem.line, problem.column))


def is_built_in(kind: Any) -> bool:
    """Whether a connector is a part of Grove, and so declares every field that it uses."""
    return str(kind.__module__).startswith("grove.connectors.") and _own_model(kind) is not None


def declarations(kind: Any) -> tuple[type[BaseModel], ...]:
    """The models that declare what a document of the connector class `kind` may say."""
    return (_own_model(kind) or ConnectorConfig, *getattr(kind, "DECLARATIONS", ()))


def _own_model(kind: Any) -> type[ConnectorConfig] | None:
    model = getattr(kind, "Configuration", None)
    return model if isinstance(model, type) and issubclass(model, ConnectorConfig) else None


class _Check:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        # Fields that all connectors have in common are checked twice.
        self._refused_at: set[Path] = set()

    def run(self) -> ConnectorConfig | None:
        value = self.document.value
        if not isinstance(value, dict):
            message = f"The document has to be an object with fields, not {_KINDS[type(value)]}."
            self._report("wrong-type", message)
            return None
        if self.document.text.has_repeated_names:
            for path in self.document.text.repeated(self.document):
                message = f"The field {dotted(path)!r} is there more than once."
                self._warn("duplicate-field", message, "The last one counts.", path)
        if _interpolation.is_wanted(value):
            value = _interpolation.interpolated(
                value, lambda path, message, help: self._report("missing-variable", message, help, path)
            )
        config = self._common(value)
        is_disabled = config.disabled if config is not None else value.get("disabled") is True
        if not is_disabled:
            self._connector(value, config)
            self._processors(value)
        return config if all(problem.is_tolerated for problem in self.problems) else None

    def _common(self, value: Mapping[str, Any]) -> ConnectorConfig | None:
        try:
            return ConnectorConfig.model_validate(value)
        except ValidationError as err:
            self._refused(err, ConnectorConfig, value)
        except DataFormatException as err:
            self._report("bad-encoding", str(err), path=("encoding",))
        return None

    # --- the connector ---

    def _connector(self, value: Mapping[str, Any], config: ConnectorConfig | None) -> None:
        name = value.get("connector")
        if not isinstance(name, str) or not name:
            return
        try:
            kind = plugin.load_class(name, PLUGIN_GROUP_CONNECTOR)
        except ConfigurationException as err:
            self._not_installed("connector", name, PLUGIN_GROUP_CONNECTOR, err, ("connector",))
            return
        models = declarations(kind)
        fields = {field for model in models for field in model.model_fields}
        self.document.declared = frozenset(fields)
        secrets, encoding = (part if isinstance(part, dict) else {} for part in map(value.get, ("secrets", "encoding")))
        later = set(secrets)
        given = dict(value)
        if config is None:
            # What is encoded cannot be told from here.
            later |= set(encoding)
        else:
            given |= {field: getattr(config, attribute_name(field)) for field in encoding if field in value}
        for model in models:
            own = given if issubclass(model, ConnectorConfig) else _only(given, model)
            try:
                model.model_validate({**own, "encoding": {}} if issubclass(model, ConnectorConfig) else own)
            except ValidationError as err:
                self._refused(err, model, value, later)
            except DataFormatException:
                # It is what `_common()` has reported.
                pass
        if is_built_in(kind):
            also = kind.template_names(value) if hasattr(kind, "template_names") else set()
            self._unknown_fields(value, fields | also)
            if hasattr(kind, "credentials"):
                self._credentials(value, set(secrets), models[0], kind.credentials(value))

    def _unknown_fields(self, value: Mapping[str, Any], fields: set[str]) -> None:
        for field in value:
            if attribute_name(field) not in fields and field not in fields and not field.startswith(("$", "_")):
                self._warn(
                    "unknown-field",
                    f"Nothing uses the field {dotted((field,))!r}.",
                    suggestion(field, fields - value.keys()) or "Take it away.",
                    (field,),
                )
        for of in ("secrets", "encoding"):
            named = value.get(of)
            for field in named if isinstance(named, dict) else ():
                if field not in fields and field not in value:
                    self._warn(
                        "unknown-field",
                        f"Nothing uses the field {dotted((field,))!r} that `{of}` names.",
                        suggestion(field, fields),
                        (of, field),
                    )

    def _credentials(
        self, value: Mapping[str, Any], later: set[str], model: type[BaseModel], needed: list[set[str]]
    ) -> None:
        """Warn where none of the sets of fields that are `needed` is there as a whole."""
        defaults = {name for name, field in model.model_fields.items() if not field.is_required() and field.default}
        given = {field for field, found in value.items() if found not in (None, "")} | later | defaults
        # Said already.
        given |= {str(path[0]) for path in self._refused_at if path} | {"identity"}
        # What is no field, the connector works out for itself.
        choices = [sorted(names & (model.model_fields.keys() | value.keys())) for names in needed]
        if not choices or any(given.issuperset(names) for names in choices):
            return
        wanted = ", or ".join(" and ".join(f"`{name}`" for name in names) for names in choices)
        missing = next(name for name in choices[0] if name not in given)
        self._warn(
            "missing-credential",
            f"There is no credential; this connector needs {wanted}.",
            f'Say in `secrets` where it lies: {{"{missing}": "..."}}.',
            ("secrets",) if "secrets" in value else ("connector",),
        )

    # --- processors ---

    def _processors(self, value: Mapping[str, Any]) -> None:
        processors = value.get("processors")
        for index, item in enumerate(processors if isinstance(processors, list) else ()):
            name = item.get("processor") if isinstance(item, dict) else None
            if not isinstance(name, str):
                continue
            path = ("processors", index)
            try:
                kind = plugin.load_class(name, PLUGIN_GROUP_PROCESSOR)
            except ConfigurationException as err:
                self._not_installed("processor", name, PLUGIN_GROUP_PROCESSOR, err, (*path, "processor"))
                continue
            model = getattr(kind, "Configuration", None)
            if isinstance(model, type) and issubclass(model, ProcessorConfig):
                try:
                    model.model_validate(item)
                except ValidationError as err:
                    self._refused(err, model, item, path=path)

    # --- saying it ---

    def _not_installed(self, kind: str, name: str, group: str, err: ConfigurationException, path: Path) -> None:
        found = plugin.available(group)
        if name in found:
            self._report(f"unusable-{kind}", str(err), path=path)
            return
        help = suggestion(name, found)
        if not help:
            lists = "`grove connectors list` names them." if kind == "connector" else f"There are: {', '.join(found)}."
            help = f"Install the package that has it, or choose another one. {lists}"
        self._report(f"unknown-{kind}", f"There is no {kind} {name!r}.", help, path)

    def _refused(
        self,
        err: ValidationError,
        model: type[BaseModel],
        value: Any,
        later: Collection[str] = (),
        path: Path = (),
    ) -> None:
        """Report what pydantic has against `value`, which stands at `path`; fields in `later` are yet to be filled."""
        errors = [(error, _as_written(error["loc"], value)) for error in err.errors(include_url=False)]
        for error, where in errors:
            # Of the kinds that a value may be of, one is closer to what it is: then its errors lie deeper.
            is_deeper = any(other[: len(where)] == where and len(other) > len(where) for _, other in errors)
            whole = (*path, *where)
            # What concerns no field of its own may concern one that is not there yet.
            is_later = where[0] in later if where else len(later) > 0
            if is_later or whole in self._refused_at or (where != error["loc"] and is_deeper):
                continue
            self._refused_at.add(whole)
            code, message, help = _explained(error, whole, model)
            given = error["input"]
            if isinstance(given, str) and given and not self.document.may_show(whole):
                # A check of the connector's own may quote what it refuses.
                message = message.replace(repr(given), HIDDEN).replace(given, HIDDEN)
            if code == "unknown-field":
                help = suggestion(str(where[-1]), _wanted(errors, where[:-1]) or model.model_fields)
            self._report(code, message, help, whole, at_name=code == "unknown-field")

    def _report(self, code: str, message: str, help: str = "", path: Path = (), *, at_name: bool = False) -> None:
        self.problems.append(self.document.problem(code, message, help, path, at_name=at_name))

    def _warn(self, code: str, message: str, help: str, path: Path) -> None:
        """Report what a run puts up with."""
        problem = self.document.problem(code, message, help, path, at_name=True)
        self.problems.append(replace(problem, is_tolerated=True))


def _only(value: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name in model.model_fields}


def _wanted(errors: list[tuple[Any, Path]], parent: Path) -> list[str]:
    """The names of fields that are missing below `parent`."""
    return [str(where[-1]) for error, where in errors if error["type"] == "missing" and where[:-1] == parent]


def _as_written(loc: Path, value: Any) -> Path:
    """The path in `value` that pydantic means by `loc`, which has the names of kinds in it, too."""
    made: list[str | int] = []
    for number, step in enumerate(loc):
        if isinstance(value, dict) and step not in value and isinstance(step, str) and step.removesuffix("_") in value:
            # `schema` is kept as `schema_`.
            step = step.removesuffix("_")
        is_item = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if is_item or (isinstance(value, dict) and step in value):
            value = value[step]
        elif number < len(loc) - 1 or not (isinstance(value, dict) and str(step).isidentifier()):
            continue
        made.append(step)
    return tuple(made)


def _explained(error: Any, path: Path, model: type[BaseModel]) -> tuple[str, str, str]:
    """Code, message and advice; never the value, which may be a credential in the wrong place."""
    kind, field = error["type"], dotted(path)
    code = _CODES.get(kind, "wrong-value")
    if kind == "missing":
        about = _description(model, path)
        return code, f"The field {field!r} is missing.", about
    if kind == "extra_forbidden":
        return code, f"Nothing uses the field {field!r}.", ""
    if kind in _WANTED:
        if error["input"] is None:
            return (
                "missing-field",
                f"The field {field!r} is empty; it has to be {_WANTED[kind]}.",
                _description(model, path),
            )
        found = _KINDS.get(type(error["input"]), "something else")
        return code, f"The field {field!r} has to be {_WANTED[kind]}, and is {found}.", ""
    if kind in ("enum", "literal_error"):
        expected = str(error["ctx"]["expected"])
        choices = [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]
        near = suggestion(error["input"], choices) if isinstance(error["input"], str) else ""
        return code, f"The field {field!r} has to be one of {', '.join(choices)}.", near
    if kind == "union_tag_invalid":
        context = error["ctx"]
        step = dotted((*path, context["discriminator"].strip("'")))
        return code, f"The field {step!r} has to be one of {context['expected_tags']}.", ""
    if kind == "string_too_short" and not error["input"]:
        return "missing-field", f"The field {field!r} is empty.", _description(model, path)
    message = str(error["msg"]).removeprefix("Value error, ").rstrip(".: ")
    return "bad-jmespath" if "JMESPath" in message else code, f"{field}: {message}.", ""


def _description(model: type[BaseModel], path: Path) -> str:
    field = model.model_fields.get(str(path[-1])) if len(path) == 1 else None
    return _sentence(field.description) if field is not None and field.description else ""


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
