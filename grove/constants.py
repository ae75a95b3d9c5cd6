"""Names and defaults that the parts of Grove, and plugins, agree on."""

# What a stored record holds: the first part of its partition key.
CACHE_KEY_LAST = "last_run"
CACHE_KEY_LOCK = "execution_lock"
CACHE_KEY_SEEN = "deduplication"
CACHE_KEY_POINTER = "pointer"
CACHE_KEY_POINTER_NEXT = "pointer_next"
CACHE_KEY_POINTER_PREV = "pointer_previous"
CACHE_KEY_WINDOW_START = "window_start"
CACHE_KEY_WINDOW_END = "window_end"

# How instants are written. Both are UTC.
DATESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
LOCK_DATE_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"

# The order in which a source returns its entries: oldest first, or newest first.
CHRONOLOGICAL = "CHRONOLOGICAL"
REVERSE_CHRONOLOGICAL = "REVERSE_CHRONOLOGICAL"

# The key under which Grove's own metadata is added to each entry.
GROVE_METADATA_KEY = "_grove"

ENV_GROVE_CACHE_HANDLER = "GROVE_CACHE_HANDLER"
ENV_GROVE_OUTPUT_HANDLER = "GROVE_OUTPUT_HANDLER"
ENV_GROVE_CONFIG_HANDLER = "GROVE_CONFIG_HANDLER"
ENV_GROVE_SECRET_HANDLER = "GROVE_SECRET_HANDLER"
ENV_GROVE_TELEMETRY_URI = "GROVE_TELEMETRY_URI"
ENV_GROVE_WORKER_COUNT = "GROVE_WORKER_COUNT"
ENV_GROVE_LOCK_DURATION = "GROVE_LOCK_DURATION"
ENV_GROVE_CONFIG_REFRESH = "GROVE_CONFIG_REFRESH"

PLUGIN_GROUP_CACHE = "grove.caches"
PLUGIN_GROUP_OUTPUT = "grove.outputs"
PLUGIN_GROUP_CONFIG = "grove.configs"
PLUGIN_GROUP_PROCESSOR = "grove.processors"
PLUGIN_GROUP_SECRET = "grove.secrets"
PLUGIN_GROUP_CONNECTOR = "grove.connectors"
PLUGIN_GROUP_ENTRYPOINT = "grove.entrypoints"

DEFAULT_CACHE_HANDLER = "local_lmdb"
DEFAULT_OUTPUT_HANDLER = "local_stdout"
DEFAULT_CONFIG_HANDLER = "local_file"
DEFAULT_WORKER_COUNT = 50
DEFAULT_OPERATION = "all"

# Seconds.
DEFAULT_LOCK_DURATION = 300
DEFAULT_CONFIG_REFRESH = 300
DEFAULT_CONFIG_FREQUENCY = 600
DEFAULT_RUN_TIMEOUT = 3600
