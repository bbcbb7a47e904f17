"""The process that forks for every run of the command line gives what a process gives that starts from nothing."""

import os
from pathlib import Path

import pytest

from support import warm
from support.vaults import Result, make_vault, run_python, run_vault, services

RUNS = (
    ("--version",),
    ("ls", "--help"),
    ("nonsense",),
    ("ls", "--nonsense"),
    ("show", "nobody"),
    ("show", "a"),
    ("ls", "--json"),
    ("run", "web", "--", "sh", "-c", "kill -TERM $$"),
)


def cold(*arguments: str) -> Result:
    return run_python("-m", "tskeyvault", *arguments)


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = make_vault(tmp_path / "vault").directory
    monkeypatch.chdir(directory)
    services(directory, '[services.web.files.env]\nformat = "env"\nvalues = { X = "x" }\n')
    assert run_vault("insert", "a", input=b"\0\xff" * 100_000).code == 0
    assert run_vault("insert", "x", input=b"x").code == 0
    return directory


@pytest.mark.parametrize("arguments", RUNS, ids=" ".join)
@pytest.mark.usefixtures("vault")
def test_it_ends_and_prints_as_one_that_is_started(arguments: tuple[str, ...]) -> None:
    assert run_vault(*arguments) == cold(*arguments)


@pytest.mark.usefixtures("vault")
def test_it_has_the_environment_and_the_directory_of_the_test_and_nothing_else_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANOTHER", "\udcff")
    script = "env | cut -d= -f1 | sort; echo $ANOTHER $X $HOME $PWD; ls /proc/self/fd; umask; ulimit -a"
    found, expected = (how("run", "web", "--", "sh", "-c", script) for how in (run_vault, cold))
    assert found.out.splitlines() == expected.out.splitlines()


def test_what_counts_when_python_starts_takes_one_that_is_started() -> None:
    usual = {**os.environ, "PYTHONPATH": warm.PATH}
    assert warm.is_as_usual(usual)
    assert warm.is_as_usual({**usual, "ANOTHER": "x"})
    assert not warm.is_as_usual({**usual, "LC_ALL": "C.ISO-8859-1"})
    assert not warm.is_as_usual({**usual, "PYTHONPATH": f"{warm.PATH}:/srv"})


@pytest.mark.usefixtures("vault")
def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    usual = {**os.environ, "PYTHONPATH": warm.PATH}
    script = f"echo $$ >'{tmp_path}/number'; kill -STOP $$"
    with pytest.raises(TimeoutError):
        warm.run(["run", "web", "--", "sh", "-c", script], b"", usual, None, 1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "number").read_text()), 0)
