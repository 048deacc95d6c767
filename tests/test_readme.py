"""The README's example is the product's first promise: it runs as it stands there."""

import re
import socket
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_in_the_readme_runs_on_both_nets_and_repeats_exactly(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]  # one that is free here
    code = compile(example.replace("4433", str(port)), "README.md", "exec")
    exec(code, {})
    exec(code, {})
    first, real, second, real_again = capsys.readouterr().out.splitlines()
    assert first == second
    assert real == real_again == str(4 << 20)
    size, now, digest = first.split()
    assert int(size) == 4 << 20
    assert int(now) > 4 * 8 * (1 << 20) * 1_000_000_000 / 10_000_000  # no faster than the link
    assert re.fullmatch("[0-9a-f]{64}", digest)


def test_the_map_of_folders_names_what_is_there():
    root = Path(__file__).parents[1]
    named = re.findall(r"^\| `(\w+)/`", README, re.MULTILINE)
    assert len(named) == 7
    assert all((root / folder).is_dir() for folder in named)
