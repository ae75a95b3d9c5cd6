"""Invokes a function as the Python runtime of AWS Lambda does: `lambda_bootstrap.py HANDLER SECONDS [EVENT ...]`.

The handler is found by its name and called for each event in turn, in this one process, with a context that has
SECONDS left. What it returns, as JSON, or the error that it raises, goes to stdout, a line for each.
"""

import importlib
import json
import sys
import time
import traceback


class LambdaContext:
    function_name = "grove"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:grove"
    memory_limit_in_mb = "256"
    log_group_name = "/aws/lambda/grove"
    log_stream_name = "2026/11/24/[$LATEST]0123456789abcdef"
    client_context = None
    identity = None

    def __init__(self, number: int, seconds: float) -> None:
        self.aws_request_id = f"request-{number}"
        self._ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._ends - time.monotonic()) * 1000))


def main(handler: str, seconds: str, *events: str) -> None:
    module, _, name = handler.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    for number, event in enumerate(events, 1):
        try:
            answer = {"answer": function(json.loads(event), LambdaContext(number, float(seconds)))}
        except Exception as err:
            stack = traceback.format_list(traceback.extract_tb(err.__traceback__))
            answer = {"errorType": type(err).__name__, "errorMessage": str(err), "stackTrace": stack}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
