"""The messaging patterns of docs/examples, as a reader would run them: each prints what its README shows."""

import re
import subprocess
import sys

from harness.install import HOME
from harness.report import BROKER, expect, fresh, run_scenarios, scenarios

EXAMPLES = HOME.parent / "docs" / "examples"
PATTERNS = sorted(path.parent.name for path in EXAMPLES.glob("*/example.py"))


@scenarios("pattern", PATTERNS)
def pattern(name):
    shown = re.search(r"```text\n(.*?)```", (EXAMPLES / name / "README.md").read_text(), re.DOTALL).group(1)
    done = subprocess.run([sys.executable, EXAMPLES / name / "example.py", BROKER, fresh(f"pattern-{name}")],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
    expect(done.returncode, 0, f"exit status; {done.stderr[-300:]}")
    expect(done.stdout, shown, "output")


if __name__ == "__main__":
    run_scenarios()
