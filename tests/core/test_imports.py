"""What is loaded when, and who may import, print and run programs: the rules that hold the code together."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.pivcard import PivCard
from support.repositories import Repository
from support.vaults import SOURCES, made_key, make_vault, run_python, run_vault, services
from support.yubikeys import make

CORE = SOURCES / "core/tskeyvault"
PLUGINS = SOURCES / "plugins"
HOOKS = SOURCES / "hooks"

ALLOWED = {
    "tskeyvault_age": {"cryptography"},
    "tskeyvault_gpg": {"gnupg"},
    "tskeyvault_pass": {"gnupg", "tskeyvault_gpg"},
    "tskeyvault_tailscale": {"httpx"},
    "tskeyvault_yubikey": {"cryptography", "smartcard", "tskeyvault_age", "ykman", "yubikit"},
}
"""What a plugin may import besides itself, the core and the standard library."""

GIVES_TO_HOOKS = {
    CORE / "cli/hooks.py",
    CORE / "cli/scan.py",
    CORE / "doctor/hooks.py",
    CORE / "doctor/tree.py",
    CORE / "doctor/units.py",
}
"""The commands of the hooks, and what looks for keys with their scanner; nothing else knows that there are hooks."""

PRINTS = {CORE / "cli/terminal.py", CORE / "cli/__init__.py"}
RUNS = {CORE / "process.py"}
ENCRYPTS_FOR_SYSTEMD = CORE / "credentials/envelope.py"

KIT = CORE / "testing"
"""The conformance kit is for test suites, so it may use pytest; nothing that runs in a vault imports it."""
LISTENS = {KIT / "watching.py"}
"""Looks for secrets in what a plugin logs and prints, so it has to know logging and flush Python's own
streams; it logs and prints nothing itself."""
STARTS = {
    CORE / "cli/run.py": {"execvpe"},
    CORE / "scratch.py": {"fork"},
    CORE / "credentials/worker.py": {"fork"},
    CORE / "doctor/plugins.py": {"fork"},
}
"""What may do without ``process.run``: ``vault run`` becomes the program, so there is nothing to wait
for; what guards plain text, decrypts for a start, or asks a plugin for its findings, is ourselves again, without a program."""

PROGRAMS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"}
"""Functions of os that start a program, besides exec… and spawn…."""


def sources(*roots: Path) -> dict[Path, ast.Module]:
    """Return every module below *roots*, parsed."""
    paths = sorted(path for root in roots for path in root.rglob("*.py"))
    return {path: ast.parse(path.read_bytes(), str(path)) for path in paths}


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the full names of all modules that *tree* imports, wherever it does; not the relative ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def foreign(tree: ast.Module) -> set[str]:
    """Return the top-level packages that *tree* imports and that do not come with Python."""
    return {name.partition(".")[0] for name in imported(tree)} - sys.stdlib_module_names


def shown(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(SOURCES)}:{getattr(node, 'lineno', 0)}"


def attributes(tree: ast.Module, module: str) -> Iterator[ast.Attribute]:
    """Yield every ``module.something`` in *tree*."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module:
            yield node


# What is loaded.

SLOW_OR_FOREIGN = {
    "dataclasses",
    "gnupg",
    "httpx",
    "importlib.metadata",
    "logging",
    "pathlib",
    "rich",
    "smartcard",
    "subprocess",
    "tempfile",
    "tskeyvault_yubikey",
    "ykman",
    "yubikit",
}


def loaded(*arguments: str | Path) -> set[str]:
    """Return the modules that ``vault`` loads for *arguments* beyond those that Python starts with."""
    code = "from tskeyvault.cli import main; assert main(sys.argv[1:]) == 0"
    return loaded_by(code, *arguments)


def loaded_by(code: str, *arguments: str | Path) -> set[str]:
    """Return the modules that *code* loads."""
    noted = f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)"
    done = run_python("-c", noted, *arguments)
    assert done.code == 0, done.err
    return set(done.out.decode().splitlines()[-1].split())


@pytest.fixture
def delivered(tmp_path: Path, memory: Path) -> set[str]:
    """Give the modules that were loaded to deliver a secret of age."""
    made = make_vault(tmp_path / "vault")
    key = made_key()
    assert run_vault("insert", "--no-commit", "a/key", input=key, cwd=made.directory).code == 0
    services(made.directory, '[services.web.files.key]\nsecret = "a/key"\n')
    modules = loaded("--vault", made.directory, "materialize", "web", "--directory", memory)
    assert (memory / "key").read_bytes() == key
    return modules


def test_a_delivery_loads_nothing_that_it_does_not_use(delivered: set[str]) -> None:
    assert {"tskeyvault_age", "tskeyvault.materialize.deliver"} <= delivered
    assert {
        name for name in delivered if name in SLOW_OR_FOREIGN or name.partition(".")[0] in SLOW_OR_FOREIGN
    } == set()


def test_a_delivery_loads_no_other_command(delivered: set[str]) -> None:
    assert {name for name in delivered if name.startswith("tskeyvault.cli.")} == {
        "tskeyvault.cli.materialize",
        "tskeyvault.cli.terminal",
    }


YUBIKEY = {"smartcard", "ykman", "yubikit"}
"""What the extra brings."""


@pytest.fixture
def yubikey(tmp_path: Path) -> Path:
    """Give a vault that a YubiKey reads, whose user has no other key any more."""
    made = make_vault(tmp_path / "vault")
    key = make(PivCard())
    assert run_vault("recipients", "add", key.recipient, cwd=made.directory).code == 0
    assert run_vault("insert", "--no-commit", "a/key", input=made_key(), cwd=made.directory).code == 0
    (Path(os.environ["XDG_CONFIG_HOME"]) / "tskeyvault/identities").write_text(f"{key.identity}\n")
    return made.directory


def test_writing_for_a_yubikey_loads_nothing_of_the_extra(yubikey: Path, tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"value")
    value = "fd = __import__('os').open(sys.argv.pop(1), 0); __import__('os').dup2(fd, 0)"
    code = f"{value}; from tskeyvault.cli import main; assert main(sys.argv[1:]) == 0"
    arguments = (tmp_path / "value", "--vault", yubikey, "insert", "--no-commit", "a/new")
    modules = loaded_by(code, *arguments)
    assert "tskeyvault_yubikey.recipient" in modules
    assert {name for name in modules if name.partition(".")[0] in YUBIKEY} == set()


@pytest.mark.parametrize("arguments", [("show", "a/key"), ("yubikey", "list"), ("yubikey", "setup")])
@pytest.mark.parametrize("missing", sorted(YUBIKEY - {"ykman"}))
def test_without_the_extra_it_is_told_how_to_install_it(
    yubikey: Path, arguments: tuple[str, ...], missing: str
) -> None:
    code = f"import sys; sys.modules['{missing}'] = None\nfrom tskeyvault.cli import main; sys.exit(main(sys.argv[1:]))"
    done = run_python("-c", code, *arguments, cwd=yubikey)
    assert done.code == 6
    assert "a YubiKey needs what is not installed here" in done.err
    assert "hint: pip install 'tskeyvault[yubikey]'" in done.err


def test_without_the_extra_everything_else_works(yubikey: Path) -> None:
    blocked = "".join(f"sys.modules['{name}'] = None; " for name in sorted(YUBIKEY))
    code = f"import sys; {blocked}\nfrom tskeyvault.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (
        ("insert", "--no-commit", "a/new"),
        ("ls",),
        ("status",),
        ("plugins",),
        ("recipients", "ls"),
    ):
        done = run_python("-c", code, *arguments, input=b"value", cwd=yubikey)
        assert done.code == 0, done.err


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_neither_cryptography_nor_plugins(option: str) -> None:
    modules = loaded(option)
    assert "tskeyvault.cli" in modules
    expensive = {"cryptography", "pluggy", "tskeyvault_age", "subprocess", *SLOW_OR_FOREIGN}
    assert {name for name in modules if name in expensive or name.partition(".")[0] in expensive} == set()


@pytest.mark.parametrize("module", ["tskeyvault", "tskeyvault.errors"])
def test_the_errors_load_nothing_else(module: str) -> None:
    assert loaded_by(f"import {module}") <= {"tskeyvault", module}


HOOK_NEEDS = {
    *("tskeyvault_hooks", "tskeyvault_hooks.faults", "tskeyvault_hooks.finder", "tskeyvault_hooks.git"),
    *("tskeyvault_hooks.encoded", "tskeyvault_hooks.hook", "tskeyvault_hooks.kinds", "tskeyvault_hooks.scan"),
    *("tskeyvault_hooks.state", "fcntl"),
}
"""What a hook loads that finds nothing: a developer waits for each of these at each commit."""
PUSH_NEEDS = {
    *("tskeyvault_hooks.pushes", "tskeyvault_hooks.places", "_blake2"),
    *("os", "stat", "_stat", "posixpath", "genericpath", "_collections_abc"),
}
"""And what one of a push does besides."""


@pytest.mark.parametrize(
    "event", ["pre-commit", "pre-merge-commit", "prepare-commit-msg", "commit-msg", "pre-push"]
)
def test_a_hook_that_finds_nothing_loads_nothing_that_it_does_not_need(event: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit("file")
    assert repository.vault("hooks", "install").code == 0
    repository.add("another", b"nothing of interest, and words with blanks between\n" * 100)
    message = repository.write(".git/message", b"change\n")
    index = {"GIT_INDEX_FILE": str(repository.directory / ".git/index")}
    before = started(tmp_path, "-c", "pass")
    scanner = HOOKS / "tskeyvault_hooks/run.py"
    given = ["origin", "url"] if event == "pre-push" else [str(message)]
    after = started(repository.directory, str(scanner), event, ".git/vault", "1", *given, env=index)
    assert {"tskeyvault_hooks.hook", "tskeyvault_hooks.scan"} <= after
    assert after - before <= HOOK_NEEDS | (PUSH_NEEDS if event == "pre-push" else set())


def started(directory: Path, *arguments: str, env: Mapping[str, str] | None = None) -> set[str]:
    """Return the modules that a Python loads which is started as hooks start it."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-I", "-S", *arguments],
        cwd=directory,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


# Who may import what.


def test_the_core_imports_little_of_others() -> None:
    found = {path: foreign(tree) - {"tskeyvault"} for path, tree in sources(CORE).items()}
    assert len(found) > 20
    assert set().union(*found.values()) <= {"cryptography", "pluggy", "pytest", "rich", "tskeyvault_hooks"}
    assert {path for path, names in found.items() if "tskeyvault_hooks" in names} == GIVES_TO_HOOKS
    assert all(path.is_relative_to(KIT) for path, names in found.items() if "pytest" in names)
    assert {path for path, names in found.items() if "rich" in names} <= PRINTS
    assert {path for path, names in found.items() if "cryptography" in names} == {ENCRYPTS_FOR_SYSTEMD}
    assert {path for path, names in found.items() if "pluggy" in names} <= {
        CORE / "backend.py",
        CORE / "spec.py",
    }


def test_nothing_imports_the_kit() -> None:
    for path, tree in sources(CORE, PLUGINS).items():
        if path.is_relative_to(KIT):
            continue
        relative = {
            node.module or "".join(alias.name for alias in node.names)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.level or node.module == "tskeyvault")
        }
        named = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        assert "testing" not in relative | named, path.name
        assert not {name for name in imported(tree) if name.startswith("tskeyvault.testing")}, path.name


def test_the_core_names_no_plugin_but_in_the_table_of_built_in_ones() -> None:
    found = []
    for path, tree in sources(CORE).items():
        tables = [
            node
            for node in tree.body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "BUILT_IN"
        ]
        assert bool(tables) == (path == CORE / "plugins.py")
        allowed = {inner for table in tables for inner in ast.walk(table)}
        if path.is_relative_to(KIT):
            # The kit's documentation shows how a plugin is tested; a docstring loads nothing.
            allowed |= {node.value for node in tree.body[:1] if isinstance(node, ast.Expr)}
        found += [
            shown(path, node)
            for node in ast.walk(tree)
            if node not in allowed
            and isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.search(r"(?<!\w)tskeyvault_", node.value)
        ]
    assert found == []


def test_a_plugin_imports_the_core_itself_and_what_it_is_allowed() -> None:
    folders = [folder for folder in PLUGINS.iterdir() if (folder / "__init__.py").exists()]
    assert {"tskeyvault_age"} <= {folder.name for folder in folders} <= set(ALLOWED)
    for folder in folders:
        for path, tree in sources(folder).items():
            assert foreign(tree) - {"tskeyvault", "pluggy", folder.name} <= ALLOWED[folder.name], path.name


def test_a_plugin_uses_only_what_the_core_offers() -> None:
    for path, tree in sources(PLUGINS).items():
        used = {name for name in imported(tree) if name.partition(".")[0] == "tskeyvault"}
        assert not {name for name in used if name.startswith("tskeyvault.cli")}, path.name
        private = [
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "tskeyvault"
            for alias in node.names
            if alias.name.startswith("_")
        ]
        assert private == [], path.name


def test_the_hooks_import_nothing_but_themselves() -> None:
    for path, tree in sources(HOOKS).items():
        assert foreign(tree) <= {"tskeyvault_hooks"}, path.name


# Who may print, and who may run a program.


def test_only_one_place_prints() -> None:
    found = []
    for path, tree in sources(CORE, PLUGINS).items():
        if path in PRINTS:
            continue
        found += [
            shown(path, node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and node.id in {"print", "input", "breakpoint"}
        ]
        found += [
            shown(path, node)
            for node in attributes(tree, "sys")
            if node.attr.strip("_") in {"stdout", "stderr", "stdin", "displayhook"}
            and not (path in LISTENS and node.attr in {"__stdout__", "__stderr__"})
        ]
        found += [
            shown(path, tree)
            for name in imported(tree)
            if name.partition(".")[0] in {"logging", "warnings", "getpass"}
            and not (name == "logging" and path in LISTENS)
        ]
        found += [
            shown(path, node)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "sys"
        ]
    assert found == []


def test_programs_are_run_in_one_place_and_never_by_a_shell() -> None:
    found = []
    for path, tree in sources(CORE, PLUGINS).items():
        names = {name.partition(".")[0] for name in imported(tree)}
        if path not in RUNS and names & {"subprocess", "pty", "multiprocessing", "asyncio", "commands"}:
            found.append(shown(path, tree))
        found += [
            shown(path, node)
            for node in attributes(tree, "os")
            if (node.attr in PROGRAMS or node.attr.startswith(("exec", "spawn")))
            and node.attr not in STARTS.get(path, set())
        ]
    assert found == []
    shells = [
        shown(path, node)
        for path, tree in sources(CORE, PLUGINS, HOOKS, SOURCES / "tests").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword)
        and node.arg == "shell"
        and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    assert shells == []


def test_every_module_says_what_it_is_for() -> None:
    modules = sources(CORE, PLUGINS, HOOKS, SOURCES / "tests")
    assert [str(path) for path, tree in modules.items() if not ast.get_docstring(tree)] == []
