"""The names, values and signatures that plugins written for other releases rely on."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import grove
from grove import constants, exceptions
from grove.connectors import BaseConnector

NAMES = {
    "grove.__about__": ["__version__", "__title__", "__license__", "__copyright__"],
    "grove.types": ["HTTPResponse", "AuditLogEntries"],
    "grove.models": ["decode", "ProcessorConfig", "OutputStream", "ConnectorConfig", "Run"],
    "grove.helpers.plugin": ["lookup_handler", "load_handler"],
    "grove.helpers.parsing": ["validation_error", "quick_copy", "quote_aware_split", "update_path"],
    "grove.logging": ["GroveFormatter"],
    "grove.caches": ["BaseCache", "Batch", "Key"],
    "grove.caches.local_file": ["Handler"],
    "grove.caches.local_lmdb": ["Handler"],
    "grove.caches.local_memory": ["Handler"],
    "grove.configs": ["BaseConfig"],
    "grove.configs.local_file": ["Handler"],
    "grove.connectors": ["BaseConnector", "ConnectorConfig"],
    "grove.connectors.local.heartbeat": ["Connector"],
    "grove.entrypoints.base": ["dispatch", "configure", "entrypoint"],
    "grove.entrypoints.local_daemon": ["entrypoint", "runtime_information"],
    "grove.entrypoints.local_process": ["entrypoint", "runtime_information"],
    "grove.outputs": ["BaseOutput"],
    "grove.outputs.local_file": ["Handler"],
    "grove.outputs.local_stdout": ["Handler"],
    "grove.processors": ["BaseProcessor"],
    "grove.processors.filter_entries": ["Handler"],
    "grove.secrets": ["BaseSecret"],
    "grove.secrets.local_file": ["Handler"],
}


@pytest.mark.parametrize("module", NAMES)
def test_names(module: str) -> None:
    found = import_module(module)
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


EXCEPTIONS = [
    "ConfigurationException",
    "ConnectorMissingException",
    "ConcurrencyException",
    "NotImplementedException",
    "NotFoundException",
    "RequestFailedException",
    "RateLimitException",
    "AccessException",
    "DataFormatException",
    "ProcessorError",
]


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_are_direct_children(name: str) -> None:
    assert getattr(exceptions, name).__bases__ == (exceptions.GroveException,)


def test_the_error_tree_is_drawn_completely() -> None:
    for name, kind in vars(exceptions).items():
        if inspect.isclass(kind):
            assert f" {name}" in (exceptions.__doc__ or ""), f"{name} is missing in the drawing"


CONSTANTS = {
    "CACHE_KEY_LAST": "last_run",
    "CACHE_KEY_LOCK": "execution_lock",
    "CACHE_KEY_SEEN": "deduplication",
    "CACHE_KEY_POINTER": "pointer",
    "CACHE_KEY_POINTER_NEXT": "pointer_next",
    "CACHE_KEY_POINTER_PREV": "pointer_previous",
    "CACHE_KEY_WINDOW_START": "window_start",
    "CACHE_KEY_WINDOW_END": "window_end",
    "DATESTAMP_FORMAT": "%Y-%m-%dT%H:%M:%SZ",
    "LOCK_DATE_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
    "CHRONOLOGICAL": "CHRONOLOGICAL",
    "REVERSE_CHRONOLOGICAL": "REVERSE_CHRONOLOGICAL",
    "GROVE_METADATA_KEY": "_grove",
    "ENV_GROVE_CACHE_HANDLER": "GROVE_CACHE_HANDLER",
    "ENV_GROVE_OUTPUT_HANDLER": "GROVE_OUTPUT_HANDLER",
    "ENV_GROVE_CONFIG_HANDLER": "GROVE_CONFIG_HANDLER",
    "ENV_GROVE_SECRET_HANDLER": "GROVE_SECRET_HANDLER",
    "ENV_GROVE_TELEMETRY_URI": "GROVE_TELEMETRY_URI",
    "ENV_GROVE_WORKER_COUNT": "GROVE_WORKER_COUNT",
    "ENV_GROVE_LOCK_DURATION": "GROVE_LOCK_DURATION",
    "ENV_GROVE_CONFIG_REFRESH": "GROVE_CONFIG_REFRESH",
    "PLUGIN_GROUP_CACHE": "grove.caches",
    "PLUGIN_GROUP_OUTPUT": "grove.outputs",
    "PLUGIN_GROUP_CONFIG": "grove.configs",
    "PLUGIN_GROUP_PROCESSOR": "grove.processors",
    "PLUGIN_GROUP_SECRET": "grove.secrets",
    "PLUGIN_GROUP_CONNECTOR": "grove.connectors",
    "DEFAULT_CACHE_HANDLER": "local_lmdb",
    "DEFAULT_OUTPUT_HANDLER": "local_stdout",
    "DEFAULT_CONFIG_HANDLER": "local_file",
    "DEFAULT_WORKER_COUNT": 50,
    "DEFAULT_LOCK_DURATION": 300,
    "DEFAULT_OPERATION": "all",
    "DEFAULT_CONFIG_REFRESH": 300,
    "DEFAULT_CONFIG_FREQUENCY": 600,
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(name: str) -> None:
    assert getattr(constants, name) == CONSTANTS[name]


METHODS = {
    "due": [],
    "run": [],
    "collect": [],
    "process_and_write": ["entries"],
    "save": ["entries"],
    "metadata": [],
    "cache_key": ["prefix"],
    "hash_entry": ["entry"],
    "hash_entries": ["entries"],
    "deduplicate_by_hash": ["candidates"],
    "deduplicate_by_pointer": ["candidates"],
    "process": ["entries"],
    "finalize": [],
    "lock": [],
    "unlock": [],
    "save_hashes": [],
    "save_window_start": [],
    "save_window_end": [],
}


@pytest.mark.parametrize("name", METHODS)
def test_connector_methods_take_what_they_took(name: str) -> None:
    parameters = list(inspect.signature(getattr(BaseConnector, name)).parameters.values())[1:]
    assert [parameter.name for parameter in parameters][: len(METHODS[name])] == METHODS[name]
    # Whatever came later is optional.
    extra = parameters[len(METHODS[name]) :]
    assert [parameter.name for parameter in extra if parameter.default is inspect.Parameter.empty] == []


@pytest.mark.parametrize(
    ("name", "settable"),
    [
        ("last", True),
        ("hashes", True),
        ("pointer", True),
        ("pointer_next", True),
        ("pointer_previous", False),
        ("window_start", True),
        ("window_end", True),
    ],
)
def test_connector_properties(name: str, settable: bool) -> None:
    found = inspect.getattr_static(BaseConnector, name)
    assert isinstance(found, property)
    assert (found.fset is not None) is settable


def test_submodules_load_when_they_are_used() -> None:
    code = (
        "import sys, grove; before = 'grove.models' in sys.modules; "
        "print(before, grove.models.decode('YQ==', 'base64'), grove.__version__, len(grove.hash_entry({})))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "a", grove.__version__, "32"]


def test_everything_announced_is_there() -> None:
    assert [name for name in grove.__all__ if not hasattr(grove, name)] == []
    assert set(grove.__all__) <= set(dir(grove))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        grove.no_such_thing  # noqa: B018
