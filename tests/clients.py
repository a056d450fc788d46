"""The environment of tests/clients.lock: made once for each state of the lock, kept in build/."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("clients.lock")
BUILD = Path(__file__).parents[1] / "build"


def python() -> Path:
    """Its interpreter; the first time it takes a minute, and the package index."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    home = BUILD / f"clients-{digest}"
    if not home.exists():
        half = home.with_name(f"{home.name}.{os.getpid()}")
        subprocess.run([sys.executable, "-m", "venv", half], check=True)
        pip = [str(half / "bin" / "python"), "-m", "pip"]
        install = [*pip, "install", "--quiet", "--no-deps", "--requirement", str(LOCK)]
        subprocess.run(install, check=True)
        try:
            half.rename(home)
        except OSError:  # another run was faster
            shutil.rmtree(half)
    return home / "bin" / "python"
