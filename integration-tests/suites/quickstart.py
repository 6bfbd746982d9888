"""The example programs of docs/examples/quickstart, as a reader would run them."""

import subprocess
import sys

from harness import install
from harness.report import BROKER, expect, fresh, run_scenarios, scenarios

EXAMPLES = install.examples()
JAVA = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{install.jars('clients')}:{install.CACHE / 'java'}"]
COMMANDS = {
    "python": [sys.executable, str(EXAMPLES / "quickstart.py")],
    "java": [*JAVA, "Quickstart"],
    "go": [str(install.CACHE / "go" / "quickstart")],
    "node": ["node", str(EXAMPLES / "quickstart.js")],
}


@scenarios("example", COMMANDS)
def example(language):
    done = subprocess.run([*COMMANDS[language], BROKER, fresh(f"quickstart-{language}")],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    expect(done.returncode, 0, f"exit status; {done.stderr[-300:]}")
    expect(done.stdout.splitlines(), [f"key-{n}: hello {n}" for n in range(3)])


if __name__ == "__main__":
    run_scenarios()
