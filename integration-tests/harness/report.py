"""Verdicts of a suite written in Python: `PASS name`, `FAIL name: why` or `SKIP name: why` on stdout."""

import os
import sys
import time
import traceback

BROKER = sys.argv[1] if len(sys.argv) > 1 else ""
RUN = os.environ.get("INTEGRATION_RUN", str(os.getpid()))
# Names of scenarios that need what the broker under test does not have yet: not-yet.txt.
NOT_YET = os.environ.get("INTEGRATION_NOT_YET", "").split(",")

_scenarios = []


class Skip(Exception):
    """A scenario that cannot run here, and why."""


def scenario(function):
    """Registers a scenario; its name is the function's, in words."""
    _scenarios.append((function.__name__.replace("_", "-"), function))
    return function


def scenarios(name, values):
    """Registers one scenario per value: the function gets the value, the name ends with it."""
    def register(function):
        for value in values:
            words = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
            args = value if isinstance(value, tuple) else (value,)
            _scenarios.append((f"{name}-{words}".rstrip("-"), lambda args=args: function(*args)))
        return function
    return register


def run_scenarios():
    """Runs everything registered, in order; a failure does not stop the rest. Exits 1 if any failed."""
    chosen = os.environ.get("SCENARIO", "")
    failed = 0
    for name, function in _scenarios:
        if chosen in name:
            failed += not judge(name, function)
    sys.exit(1 if failed else 0)


def judge(name, function):
    """Runs one scenario and prints its verdict. Returns false if it failed."""
    if name in NOT_YET:
        print(f"SKIP {name}: not there yet", flush=True)
        return True
    started = time.monotonic()
    try:
        function()
    except Skip as why:
        print(f"SKIP {name}: {why}", flush=True)
    except Exception as error:  # A scenario may fail in any way.
        traceback.print_exc()
        words = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        print(f"FAIL {name}: {words}", flush=True)
        return False
    else:
        print(f"PASS {name} ({time.monotonic() - started:.1f} s)", flush=True)
    return True


def expect(got, want, what="got"):
    if got != want:
        raise AssertionError(f"{what} {shorten(got)}, expected {shorten(want)}")


def expect_in(part, whole):
    if part not in whole:
        raise AssertionError(f"{shorten(part)} not found in {shorten(whole)}")


def shorten(value, limit=600):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit // 2]} ... {text[-limit // 2:]}"


def until(what, condition, seconds=30.0):
    """Polls until `condition` gives something true and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


def fresh(name):
    """A name for a topic or group that no other run uses."""
    return f"it-{RUN}-{name}"
