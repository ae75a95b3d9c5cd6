"""Deliveries that a dead run left half done in streams that nobody collects any more.

A stream that is collected finishes its own when its lease is taken. One whose document was removed meanwhile would
keep a committed page hidden for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Container

from grove.caches import BaseCache, Key
from grove.collection import Collection, Stream
from grove.exceptions import ConcurrencyException, GroveException, NotImplementedException
from grove.manifest import has_tail
from grove.outputs import BaseOutput
from grove.state import MANIFEST, PENDING

__all__ = ["recover_unconfigured"]

logger = logging.getLogger(__name__)


def recover_unconfigured(
    cache: BaseCache, output: BaseOutput, configured: Container[tuple[str, str]], lock_duration: float
) -> int:
    """Publish what streams other than `configured` (reference, operation) have pending; how many streams had.

    What cannot be finished now is logged, and tried again by the next process. `lock_duration` is in seconds.
    """
    try:
        found = [key for key, _ in cache.scan(f"{PENDING}.")]
        found += [
            key._replace(pk=key.pk.replace(MANIFEST, PENDING, 1))
            for key, text in cache.scan(f"{MANIFEST}.")
            if has_tail(text)
        ]
    except NotImplementedException:
        return 0
    except GroveException as err:
        logger.warning("The cache could not be searched for unfinished deliveries.", extra={"exception": str(err)})
        return 0
    done = 0
    for key in dict.fromkeys(found):
        reference = key.pk.removeprefix(f"{PENDING}.")
        if (reference, key.sk) not in configured:
            done += _finish(cache, output, key, reference, lock_duration)
    return done


def _finish(cache: BaseCache, output: BaseOutput, key: Key, reference: str, lock_duration: float) -> bool:
    about = {"stream": reference, "operation": key.sk}
    stream = Stream(
        connector=reference,
        identity="",
        operation=key.sk,
        name=reference,
        key_of=lambda kind: f"{kind}.{reference}",
        # Nothing is written, so there is nothing to name, and nothing to sweep by name.
        descriptors=(),
        lock_duration=lock_duration,
        run_timeout=lock_duration,
    )
    run = Collection(cache, output, stream, about)
    try:
        run.take()
        run.end({})
    except ConcurrencyException:
        return False
    except GroveException as err:
        logger.warning(
            "A delivery of a stream that is no longer configured could not be finished.",
            extra={**about, "exception": str(err)},
        )
        return False
    logger.info("Finished a delivery of a stream that is no longer configured.", extra=about)
    return True
