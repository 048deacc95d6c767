"""Other versions of Python on this machine, and environments in which they can run this program.

`python -m tests.support.pythons` makes the environments (it needs the package index); tests only look for them.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
_ROOT: Final = Path(__file__).parents[2]


def others() -> dict[str, str]:
    """Return the paths of those versions other than the running one that are installed, and work."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {version: path for version in VERSIONS if version != running and (path := _path(version)) is not None}


def environment(version: str) -> Path | None:
    """Return the Python of this version that has what this program needs; None if nobody has made its environment."""
    python = _ROOT / "build" / f"python-{version}" / "bin" / "python"
    return python if python.exists() else None


def _path(version: str) -> str | None:
    """Return where a version is, on the path of commands or among those of pyenv."""
    of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    for path in (shutil.which(f"python{version}"), *map(str, of_pyenv)):
        if path is not None and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def main() -> None:
    """Make an environment for each other version."""
    for version, path in others().items():
        directory = _ROOT / "build" / f"python-{version}"
        subprocess.run([path, "-m", "venv", directory], check=True)
        pip = [directory / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--editable", _ROOT], check=True)
        print(f"python {version}: {directory}")


if __name__ == "__main__":
    main()
