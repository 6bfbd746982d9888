"""Installs the clients that the suites use, by package name through their ordinary package managers.

Everything goes below one cache directory, so a second run installs nothing. Each part is keyed by the
content of the files that pin its versions; changing a pin installs anew.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
CLIENTS = HOME / "clients"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ottla-integration"

# Programs looked for on PATH, and the Debian packages that bring them.
PROGRAMS = {
    "kcat": ["kcat"],
    "java": ["openjdk-17-jdk-headless"],
    "javac": ["openjdk-17-jdk-headless"],
    "mvn": ["maven"],
    "node": ["nodejs"],
    "npm": ["npm"],
    "go": ["golang-go"],
}

# The parts each suite needs; see `PARTS` at the end of the file.
NEEDS = {
    "kcat": ["venv", "kcat"],
    "tools": ["tools"],
    "command": ["tools"],
    "java": ["java"],
    "confluent": ["venv"],
    "aiokafka": ["venv"],
    "kafka-python": ["venv"],
    "go": ["go"],
    "node": ["node"],
    "quickstart": ["venv", "java", "go", "node"],
    "examples": ["venv"],
    "cross": ["venv", "kcat", "java", "go", "node"],
    "restart": ["venv", "kcat", "java", "go", "node"],
    "scale": ["venv"],
    "quotas": ["venv", "tools"],
    "telemetry": ["venv", "tools"],
    "groups": ["venv", "java", "go", "node"],
    "transactions": ["venv", "java", "go"],
    "streams": ["venv", "streams"],
    "connect": ["venv", "connect", "kafka"],
    "hostile": ["venv"],
    "interchange": ["venv", "kafka"],
}


class InstallError(Exception):
    """Something could not be installed; the message says what and what to do."""


def install(suites):
    """Installs what `suites` need and returns the seconds spent per part."""
    CACHE.mkdir(parents=True, exist_ok=True)
    parts = sorted({part for suite in suites for part in NEEDS[suite]})
    with open(CACHE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in parts:
            PARTS[part]()


def ottla():
    """The path of the binary under test: $OTTLA_BIN, which is set for others if it had to be built."""
    if "OTTLA_BIN" not in os.environ:
        root = HOME.parent
        run("cargo", "build", "--release", "--bin", "ottla", cwd=root)
        target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
        os.environ["OTTLA_BIN"] = str(target / "release" / "ottla")
    return os.environ["OTTLA_BIN"]


def venv_python():
    return CACHE / "venv" / "bin" / "python"


def jars(profile):
    """The class path of one Maven profile of clients/java/pom.xml."""
    return f"{CACHE / 'jars' / profile}/*"


def run(*command, cwd=None, env=None):
    """Runs an installer; its output is shown only when it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        raise InstallError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def need(*programs):
    """Finds the programs on PATH, installing the missing ones with apt where that is possible."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    packages = sorted({package for program in missing for package in PROGRAMS[program]})
    hint = f"{', '.join(missing)} not found: install {', '.join(packages)} (Debian names) and run again"
    if shutil.which("apt-get") is None:
        raise InstallError(hint)
    apt = ["apt-get"] if os.geteuid() == 0 else ["sudo", "-n", "apt-get"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(*apt, "update", env=env)
        run(*apt, "install", "-y", "--no-install-recommends", *packages, env=env)
    except (InstallError, FileNotFoundError) as error:
        raise InstallError(f"{hint}\n{error}") from error


def stamped(target, *inputs, build):
    """Calls `build` unless `target` was built from the same inputs before."""
    digest = hashlib.sha256()
    for path in inputs:
        digest.update(path.read_bytes())
    stamp = target / ".stamp"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    print(f"installing {target.relative_to(CACHE)}", file=sys.stderr, flush=True)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    build()
    stamp.write_text(digest.hexdigest())


def install_venv():
    requirements = CLIENTS / "python" / "requirements.txt"
    target = CACHE / "venv"

    def build():
        try:
            run(sys.executable, "-m", "venv", target)
        except InstallError:  # Debian keeps ensurepip in a package of its own.
            PROGRAMS["ensurepip"] = ["python3-venv"]
            need("ensurepip")
            run(sys.executable, "-m", "venv", target)
        run(target / "bin" / "pip", "install", "--disable-pip-version-check", "-r", requirements)

    stamped(target, requirements, build=build)


def resolve_jars(profile):
    need("java", "javac", "mvn")
    pom = CLIENTS / "java" / "pom.xml"
    target = CACHE / "jars" / profile

    def build():
        run("mvn", "-q", "-B", "-f", pom, "-P", profile, "-DincludeScope=runtime",
            f"-DoutputDirectory={target}", "dependency:copy-dependencies")

    stamped(target, pom, build=build)


def install_java():
    resolve_jars("clients")
    target = CACHE / "java"
    sources = sorted((CLIENTS / "java").glob("*.java")) + sorted(examples().glob("*.java"))

    def build():
        run("javac", "-cp", jars("clients"), "-d", target, *sources)

    stamped(target, CLIENTS / "java" / "pom.xml", *sources, build=build)


def install_streams():
    resolve_jars("streams")
    target = CACHE / "java-streams"
    sources = sorted((CLIENTS / "java" / "streams").glob("*.java"))

    def build():
        run("javac", "-cp", jars("streams"), "-d", target, *sources)

    stamped(target, CLIENTS / "java" / "pom.xml", *sources, build=build)


def install_go():
    need("go")
    source = CLIENTS / "go"
    target = CACHE / "go"
    inputs = [path for path in sorted(source.rglob("*")) if path.suffix in (".go", ".mod", ".sum")]
    example = examples() / "quickstart.go"

    def build():
        env = {**os.environ, "CGO_ENABLED": "0"}
        run("go", "build", "-o", target / "client", ".", cwd=source, env=env)
        if example.exists():
            run("go", "build", "-o", target / "quickstart", example, cwd=source, env=env)

    stamped(target, *inputs, *([example] if example.exists() else []), build=build)


def install_node():
    need("node", "npm")
    source = CLIENTS / "node"
    target = CACHE / "node"

    def build():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, target / name)
        run("npm", "ci", "--no-fund", "--no-audit", cwd=target)

    stamped(target, source / "package.json", source / "package-lock.json", build=build)


def examples():
    """The example programs of the documentation, which the suites run."""
    return HOME.parent / "docs" / "examples" / "quickstart"


PARTS = {
    "venv": install_venv,
    "kcat": lambda: need("kcat"),
    "tools": lambda: resolve_jars("tools"),
    "kafka": lambda: resolve_jars("broker"),
    "java": install_java,
    "streams": install_streams,
    "connect": lambda: resolve_jars("connect"),
    "go": install_go,
    "node": install_node,
}
