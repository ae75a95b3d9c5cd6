"""State in Redis or Valkey, shared by any number of hosts. A batch is one Lua script: all of it applies, or nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from hashlib import sha1
from typing import Any, ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.connection import parse_url
from redis.exceptions import NoScriptError, RedisError

from grove.caches import Batch, Key
from grove.caches._native import NativeCache
from grove.caches._redis_server import DeniedError, Server
from grove.exceptions import ConfigurationException, ConflictError
from grove.helpers import settings
from grove.logging import register_secret

__all__ = ["Handler"]

logger = logging.getLogger(__name__)

ENV_PREFIX = "GROVE_CACHE_REDIS_"
SCAN_STEP = 1000

# KEYS: those with a condition, then those to change. ARGV: how many conditions; then two per key, "1" and its value or
# "0" for no value. Answers 0, or which condition is not met. Every write comes after every read, and a server that
# cannot write (no memory, read-only, disk failure) refuses the first one, so nothing is half done.
# https://redis.io/docs/latest/develop/programmability/eval-intro/
APPLY = b"""
local conditions = tonumber(ARGV[1])
for index = 1, conditions do
  local found = redis.call('GET', KEYS[index])
  if ARGV[2 * index] == '0' then
    if found then return index end
  elseif found ~= ARGV[2 * index + 1] then
    return index
  end
end
for index = conditions + 1, #KEYS do
  if ARGV[2 * index] == '0' then
    redis.call('DEL', KEYS[index])
  else
    redis.call('SET', KEYS[index], ARGV[2 * index + 1])
  end
end
return 0
"""
APPLY_ID = sha1(APPLY, usedforsecurity=False).hexdigest()

# A script is sent to where its key lies; by itself SCAN lists whichever server of a cluster it is asked of.
SCAN = b"return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])"


class Configuration(BaseSettings):
    """GROVE_CACHE_REDIS_URL and the rest; `timeout` is seconds for each connect, send and answer."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", hide_input_in_errors=True)

    url: SecretStr = Field(description="The server: redis://, rediss:// (TLS) or unix://.")
    password: SecretStr | None = Field(default=None, description="The password, in place of one in the URL.")
    prefix: str = Field(
        default="grove", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="What the keys begin with: one per deployment."
    )
    timeout: float = Field(default=5.0, gt=0, le=300, description="Seconds to connect, and for each answer.")


class Handler(NativeCache):
    """Strings `{prefix}:pk:sk`, all in one hash slot, so that a Redis Cluster keeps a batch together.

    The settings are those of `Configuration`, from the environment; arguments replace them. A server that is down
    or busy is asked again for a moment; what may have been applied is never sent twice.
    """

    SCOPE: ClassVar[str] = "shared"
    EXTRA: ClassVar[str | None] = "redis"

    def __init__(self, **given: Any) -> None:
        self.config = settings.read(Configuration, **given)
        self._tag = f"{{{self.config.prefix}}}:"
        self._server = _server(self.config)

    def setup(self) -> None:
        """Reach the server, and warn where its own settings would lose state.

        ConfigurationException where it does not let us in, AccessException where it does not answer.
        """
        try:
            self.read([Key("store", "id")])
        except DeniedError as err:
            raise ConfigurationException(f"{err}. Check {ENV_PREFIX}URL and {ENV_PREFIX}PASSWORD.") from err
        try:
            facts = _facts(self._server.ask("INFO"))
        except DeniedError:
            # Enough rights for the keys are enough.
            return
        if facts.get("maxmemory_policy", "").startswith("allkeys-"):
            logger.warning(
                "This Redis server may drop any key once its memory is full, Grove's state too: entries would be "
                "collected again. Set its maxmemory-policy to noeviction.",
                extra={"maxmemory_policy": facts["maxmemory_policy"]},
            )
        if facts.get("aof_enabled") == "0":
            logger.warning(
                "This Redis server keeps no append-only file: once it restarts, Grove's state is old or gone, and "
                "entries are collected again. Set its appendonly to yes."
            )

    def reopen(self) -> None:
        """Let go of every connection."""
        self._server.close()

    # --- values ---

    def read(self, keys: Sequence[Key]) -> list[str | None]:
        """The values of `keys`, in one snapshot."""
        if not keys:
            return []
        found = self._server.ask("MGET", *map(self._name, keys))
        return [None if value is None else _text(value) for value in found]

    def apply(self, batch: Batch) -> None:
        """All of `batch`, or ConflictError. AccessException: the server did not say whether it did."""
        conditions, changes = list(batch.requires.items()), list(batch.changes.items())
        if not conditions and not changes:
            return
        names = [self._name(key) for key, _ in (*conditions, *changes)]
        values: list[bytes] = []
        for _, value in (*conditions, *changes):
            values += (b"0", b"") if value is None else (b"1", _bytes(value))
        arguments: list[bytes | int] = [len(names), *names, len(conditions), *values]
        try:
            unmet = self._server.tell("EVALSHA", APPLY_ID, *arguments)
        except NoScriptError:
            unmet = self._server.tell("EVAL", APPLY, *arguments)
        if unmet:
            key = conditions[unmet - 1][0]
            raise ConflictError(f"{key.pk} ({key.sk}) is not what it was; nothing was changed.")

    def scan(self, prefix: str) -> Iterator[tuple[Key, str]]:
        """Every key whose pk starts with `prefix`, and its value: at least what is there from begin to end."""
        start = _bytes(f"{self._tag}{_escaped(prefix)}")
        names: dict[bytes, None] = {}
        cursor = b"0"
        while True:
            cursor, some = self._server.ask("EVAL", SCAN, 1, start, cursor, _as_pattern(start), SCAN_STEP)
            names.update(dict.fromkeys(some))
            if int(cursor) == 0:
                break
        keys = [self._key(name) for name in names]
        for first in range(0, len(keys), SCAN_STEP):
            step = keys[first : first + SCAN_STEP]
            for key, value in zip(step, self.read(step), strict=True):
                # What was deleted meanwhile is left out.
                if value is not None:
                    yield key, value

    # --- names ---

    def _name(self, key: Key) -> bytes:
        return _bytes(f"{self._tag}{_escaped(key.pk)}:{key.sk}")

    def _key(self, name: bytes) -> Key:
        pk, _, sk = _text(name).removeprefix(self._tag).partition(":")
        return Key(pk.replace("%3A", ":").replace("%25", "%"), sk)


def _escaped(pk: str) -> str:
    """`pk` without a colon, so that the first one ends it. What begins alike still does."""
    return pk.replace("%", "%25").replace(":", "%3A")


def _as_pattern(start: bytes) -> bytes:
    """The glob that matches what begins with exactly `start`."""
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", start) + b"*"


def _bytes(text: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"a cache holds text, not {type(text).__name__}")
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _facts(info: bytes) -> dict[str, str]:
    """What `INFO` says: a name, a colon and a value on each line."""
    lines = info.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _server(config: Configuration) -> Server:
    """The server that the settings name. ConfigurationException where the URL is none."""
    try:
        options = parse_url(config.url.get_secret_value())
        if config.password is not None:
            options["password"] = config.password.get_secret_value()
        if options.get("password"):
            register_secret(options["password"])
        timeouts = {"socket_timeout": config.timeout, "socket_connect_timeout": config.timeout}
        return Server({**timeouts, **options})
    except (ValueError, TypeError, RedisError):
        # Not chained: the error may show a part of the password.
        raise ConfigurationException(
            f"{ENV_PREFIX}URL is not the address of a server. Write redis://host:6379/0, or rediss:// for TLS, and "
            f"put a password with special characters into {ENV_PREFIX}PASSWORD."
        ) from None
