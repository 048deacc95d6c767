"""Build hook of the wheel: compiles the protocol stack with mypyc (docs/PERFORMANCE.md, "The compiled stack").

It is off unless HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 is in the environment. The wheel then has an extension module beside
each source file that is compiled; Python prefers it.
"""

import os
import shlex
import shutil
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What stays Python. Mostly it has classes that others derive from, which they cannot from compiled ones
INTERPRETED: Final = (
    "stack/congestion/*.py",  # docs/CONGESTION.md: controllers of one's own
    "stack/config.py",  # this and the next tell what is wrong with a value that users give, whatever its type
    "stack/tls/config.py",
    "stack/errors.py",  # HTTP/3 has errors of its own
    "stack/observer.py",
    "stack/tls/handshake.py",  # the GnuTLS engine is one
    "stack/tls/client.py",
    "stack/tls/server.py",
    "stack/events.py",  # its fields are annotated with classes that it does not import, which mypyc (2.4) takes badly
)
OPTIMIZATION: Final = "1"  # of the C compiler; more makes no difference


class CompiledStack(BuildHookInterface):
    """Adds the extension modules to a wheel; what is not a wheel, or is editable, stays as it is."""

    _directory: TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say what of it goes where in the wheel."""
        if self.target_name != "wheel" or version == "editable":
            return
        _check_compiler()
        self._directory = TemporaryDirectory(prefix="quicsim-compiled-")
        built = _compile(Path(self.root), Path(self._directory.name))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update(
            {str(path): path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
        )

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Forget what was compiled, which is in the wheel now."""
        if self._directory is not None:
            self._directory.cleanup()


def _check_compiler() -> None:
    """Raise RuntimeError without what it takes to build extension modules."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    for needed, there in ((f"the C compiler {compiler}", shutil.which(compiler)), (str(header), header.exists())):
        if not there:
            raise RuntimeError(
                f"compiling the stack needs {needed}, which is not there (Debian: apt-get install gcc python3-dev); "
                "without HATCH_BUILD_HOOK_ENABLE_CUSTOM in the environment nothing is compiled"
            )


def _compile(root: Path, directory: Path) -> Path:
    """Compile what is not INTERPRETED; return the directory with the extension modules, at their places."""
    # Only there once the hook's dependencies are
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    class BuildInParallel(build_ext):
        """Compiles as many C files at once as there are processors."""

        def build_extension(self, extension: Any) -> None:
            compile_some = self.compiler.compile

            def compile_all(sources: list[str], *args: Any, **options: Any) -> list[str]:
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    made = pool.map(lambda source: compile_some([source], *args, **options), sources)
                    return [path for paths in made for path in paths]

            self.compiler.compile = compile_all
            super().build_extension(extension)

    interpreted = {path for pattern in INTERPRETED for path in root.glob(pattern)}
    sources = [
        path.relative_to(root).as_posix()
        for path in sorted(root.glob("stack/**/*.py"))
        if path not in interpreted and path.name != "__init__.py"
    ]
    built = directory / "lib"
    with chdir(root):  # sources are told by where they are in the project
        extensions = mypycify(
            [f"--cache-dir={directory / 'cache'}", *sources],
            opt_level=OPTIMIZATION,
            debug_level="0",
            multi_file=True,
            target_dir=str(directory / "c"),
            group_name="quicsim",
        )
        command = BuildInParallel(Distribution({"name": "quicsim", "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(built), str(directory / "objects")
        command.ensure_finalized()
        command.run()
    return built
