"""Collects once in an AWS Lambda function, whose handler is `grove.entrypoints.aws_lambda.entrypoint`.

A schedule (EventBridge) invokes it. Keep state in a cache that all of its instances share, `aws_dynamodb`: what an
instance writes to its own disk goes with it. https://docs.aws.amazon.com/lambda/latest/dg/python-handler.html
"""

import logging
import signal
import threading
from typing import Any

from grove.entrypoints import base
from grove.exceptions import GroveException
from grove.helpers.signals import Mailbox, Stop
from grove.oneshot import EXIT_CONFIGURATION, EXIT_FAILED
from grove.runtime import Settings

__all__ = ["entrypoint", "runtime_information"]

logger = logging.getLogger(__name__)

MARGIN = 10.0
"""Seconds before Lambda ends an invocation at which streams are asked to stop: what that takes them at most."""

_FAILED = {
    EXIT_FAILED: "At least one stream could not be collected; the log says which, and why.",
    EXIT_CONFIGURATION: "A configuration document or a setting is wrong; the log says which, and what to do.",
}


def runtime_information(context: Any) -> dict[str, str]:
    """Where this invocation runs, by the context that Lambda gives with it.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """
    return {
        "runtime": __file__,
        "runtime_id": str(context.log_stream_name),
        "lambda_function_arn": str(context.invoked_function_arn),
        "lambda_function_memory_size": str(context.memory_limit_in_mb),
        "lambda_request_id": str(context.aws_request_id),
    }


def entrypoint(event: Any, context: Any) -> dict[str, str]:
    """Collect every due stream once; `event` does not matter, and the answer is `{"Status": "OKAY"}`.

    Streams are stopped at their next page before the invocation runs out of time, and the next one goes on from there.
    GroveException, without details, where a stream has failed or something is misconfigured: Lambda counts the
    invocation as failed, and shows the error as it is.
    """
    about = runtime_information(context)
    mailbox = Mailbox()
    remaining = context.get_remaining_time_in_millis() / 1000
    timer = threading.Timer(remaining - min(MARGIN, remaining / 2), mailbox.send, [Stop(signal.SIGTERM)])
    timer.daemon = True
    timer.start()
    try:
        code = base.guarded(lambda: _collect(about, mailbox), about, debug=False)
    finally:
        timer.cancel()
    if code in _FAILED:
        raise GroveException(_FAILED[code])
    return {"Status": "OKAY"}


def _collect(about: dict[str, str], mailbox: Mailbox) -> int:
    cache = Settings.read().cache
    if cache.startswith("local_"):
        logger.warning(
            "State on this instance is lost with it, and everything is collected again; set GROVE_CACHE_HANDLER to a "
            "cache that all instances share.",
            extra={"cache": cache},
        )
    return base.entrypoint(about, mailbox)
