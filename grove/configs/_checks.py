"""What is wrong with one document: everything at once, and each thing where it stands.

What a document may say is asked of the connector and the processors that it names. Of a connector that is no part of
Grove, fields that it does not declare are its own business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from grove.configs import _interpolation
from grove.configs._documents import Document, Path
from grove.configs._problems import TOLERATED, Problem, suggestion
from grove.constants import PLUGIN_GROUP_CONNECTOR, PLUGIN_GROUP_PROCESSOR
from grove.exceptions import ConfigurationException, DataFormatException
from grove.helpers import plugin
from grove.models import ConnectorConfig, ProcessorConfig, attribute_name

__all__ = ["built", "declarations", "is_built_in"]

_KINDS: dict[type, str] = {list: "a list", str: "a text", type(None): "null", bool: "a boolean"}

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
    return config, check.problems


def is_built_in(kind: Any) -> bool:
    """Whether a connector is a part of Grove, and so declares every field that it uses."""
    return kind.__module__.startswith("grove.connectors.") and _own_model(kind) is not None


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
        self._seen: set[Path] = set()

    def run(self) -> ConnectorConfig | None:
        value = self.document.value
        if not isinstance(value, dict):
            kind = _KINDS.get(type(value), "a number")
            self._report("wrong-type", f"The document has to be an object with fields, not {kind}.")
            return None
        if self.document.text.has_repeated_names:
            for path in self.document.text.repeated(self.document):
                self._report("duplicate-field", f"The field {_dotted(path)!r} is there twice.", "One counts.", path)
        if _interpolation.is_wanted(value):
            value = _interpolation.interpolated(
                value, lambda path, message, help: self._report("missing-variable", message, help, path)
            )
        config = self._common(value)
        if value.get("disabled") is not True:
            self._connector(value, config)
            self._processors(value)
        return None if any(problem.code not in TOLERATED for problem in self.problems) else config

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
        secrets = value.get("secrets")
        later = set(secrets) if isinstance(secrets, dict) else set()
        given = {**value, **_decoded(value, config)}
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
            self._credentials(value, later, kind)

    def _unknown_fields(self, value: Mapping[str, Any], fields: set[str]) -> None:
        for field in value:
            if attribute_name(field) not in fields and field not in fields and not field.startswith(("$", "_")):
                self._report(
                    "unknown-field",
                    f"Nothing uses the field {field!r}.",
                    suggestion(field, fields - value.keys()) or "Take it away.",
                    (field,),
                    at_name=True,
                )
        for of in ("secrets", "encoding"):
            named = value.get(of)
            for field in named if isinstance(named, dict) else ():
                if field not in fields and field not in value:
                    self._report(
                        "unknown-field",
                        f"Nothing uses the field {field!r} that `{of}` names.",
                        suggestion(field, fields),
                        (of, field),
                        at_name=True,
                    )

    def _credentials(self, value: Mapping[str, Any], later: set[str], kind: Any) -> None:
        choices = [sorted(names) for names in kind.credentials(value)]
        given = {field for field, found in value.items() if found not in (None, "")} | later
        if not choices or any(given.issuperset(names) for names in choices):
            return
        wanted = ", or ".join(" and ".join(f"`{name}`" for name in names) for names in choices)
        missing = next(name for name in choices[0] if name not in given)
        self._report(
            "missing-credential",
            f"There is no credential; this connector needs {wanted}.",
            f'Say in `secrets` where it lies: {{"{missing}": "..."}}.',
            ("secrets",) if "secrets" in value else ("connector",),
            at_name=True,
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
                    self._refused(err, model, value, path=path)

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
        value: Mapping[str, Any],
        later: set[str] | None = None,
        path: Path = (),
    ) -> None:
        for error in err.errors(include_url=False):
            where = (*path, *_as_written(error["loc"], value if not path else None))
            if where[:1] and where[0] in (later or ()):
                continue
            self._report(*_explained(error, where, model), where, at_name=error["type"] == "extra_forbidden")

    def _report(self, code: str, message: str, help: str = "", path: Path = (), *, at_name: bool = False) -> None:
        # What all connectors have in common is checked twice.
        if path and path in self._seen:
            return
        self._seen.add(path)
        self.problems.append(self.document.problem(code, message, help, path, at_name=at_name))


def _decoded(value: Mapping[str, Any], config: ConnectorConfig | None) -> dict[str, Any]:
    encoding = value.get("encoding")
    if config is None or not isinstance(encoding, dict):
        return {}
    return {field: getattr(config, attribute_name(field), None) for field in encoding if field in value}


def _only(value: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name in model.model_fields}


def _as_written(loc: Path, value: Mapping[str, Any] | None) -> Iterator[str | int]:
    for number, step in enumerate(loc):
        if number == 0 and value is not None and isinstance(step, str) and step not in value:
            # `schema` is kept as `schema_`.
            yield step.removesuffix("_") if step.removesuffix("_") in value else step
        else:
            yield step


def _explained(error: Any, path: Path, model: type[BaseModel]) -> tuple[str, str, str]:
    """Code, message and advice; never the value, which may be a credential in the wrong place."""
    kind, field = error["type"], _dotted(path)
    code = _CODES.get(kind, "wrong-value")
    if kind == "missing":
        about = _description(model, path)
        return code, f"The field {field!r} is missing.", about
    if kind == "extra_forbidden":
        return code, f"Nothing uses the field {field!r}.", suggestion(str(path[-1]), model.model_fields)
    if kind in _WANTED:
        what = (
            "is empty"
            if error["input"] is None
            else f"is {_KINDS[type(error['input'])]}"
            if (type(error["input"]) in _KINDS)
            else "is something else"
        )
        return code, f"The field {field!r} has to be {_WANTED[kind]}, and {what}.", ""
    if kind in ("enum", "literal_error"):
        expected = str(error["ctx"]["expected"])
        choices = [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]
        near = suggestion(error["input"], choices) if isinstance(error["input"], str) else ""
        return code, f"The field {field!r} has to be one of {', '.join(choices)}.", near
    if kind == "string_too_short" and not error["input"]:
        return "missing-field", f"The field {field!r} is empty.", _description(model, path)
    message = str(error["msg"]).removeprefix("Value error, ")
    if "JMESPath" in message:
        code = "bad-jmespath"
    return code, f"{field}: {message}" + ("" if message.endswith(".") else "."), ""


def _description(model: type[BaseModel], path: Path) -> str:
    field = model.model_fields.get(str(path[-1])) if len(path) == 1 else None
    return _sentence(field.description) if field is not None and field.description else ""


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))
