"""The script's side of tests/sdk/script.rs: commands on stdin, answers on stdout, a line of JSON each."""

import json
import sys
import threading

_writing = threading.Lock()


def tell(**what):
    """Writes one line."""
    with _writing:
        print(json.dumps(what), flush=True)


def serve(perform, describe):
    """Performs every command; an exception is answered with its type and what `describe` sees in it."""
    for line in sys.stdin:
        try:
            tell(result=perform(json.loads(line)))
        except Exception as error:  # Whatever a client raises is what the test is about.
            tell(error={"type": type(error).__name__, **describe(error)})
