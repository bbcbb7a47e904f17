"""Plugins of others, really installed and run by the real commands: one that is honest, and those that are not."""

import json
import re
import sys
from pathlib import Path
from subprocess import run
from typing import NamedTuple

import pytest

from support.vaults import SOURCES, Result, copy_world, made_key, run_python, run_vault, services

PACKAGES = SOURCES / "tests/third_party"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory that the packages of ``tests/third_party`` are installed in, by pip."""
    target = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--isolated")
    sources = (PACKAGES / "tskeyvault_demo", PACKAGES / "tskeyvault_spy")
    done = run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            *options,
            "--disable-pip-version-check",
            "--target",
            target,
            *sources,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def package(directory: Path, name: str, code: str, *plugins: str) -> None:
    """Install a package by hand whose module *name* is *code*, and whose Plugin is called each of *plugins*."""
    (directory / f"{name}.py").write_text(code)
    info = directory / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    lines = "".join(f"{plugin} = {name}:Plugin\n" for plugin in plugins)
    (info / "entry_points.txt").write_text(f"[tskeyvault.plugins]\n{lines}")


class Bench(NamedTuple):
    """A vault with a home of its own, all below *root*, and where the packages lie."""

    root: Path
    packages: Path

    @property
    def directory(self) -> Path:
        """The vault."""
        return self.root / "vault"

    @property
    def store(self) -> Path:
        """Where its ciphertexts lie."""
        return self.root / "vault/secrets"

    @property
    def passphrase(self) -> Path:
        """The key file of the demo."""
        return self.root / "passphrase"

    @property
    def log(self) -> Path:
        """What the spy has written down."""
        return self.root / "seen"

    @property
    def env(self) -> dict[str, str]:
        """Its environment, given in full since some of it outlives a test."""
        return {
            "PYTHONPATH": str(self.packages),
            "HOME": str(self.root),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def vault(self, *arguments: str | Path, input: bytes = b"") -> Result:  # noqa: A002 - as in subprocess.run
        """Run ``vault`` with the packages."""
        return run_vault(*arguments, input=input, env=self.env, cwd=self.directory)

    def done(self, *arguments: str | Path, input: bytes = b"") -> Result:  # noqa: A002 - as in subprocess.run
        """Run ``vault``, which must succeed."""
        result = self.vault(*arguments, input=input)
        assert result.code == 0, result.err
        return result

    def configure(self, **options: str) -> None:
        """Write the local configuration, with *options* for the plugin ``leaky``."""
        tables: dict[str, dict[str, str]] = {"demo": {"key_file": str(self.passphrase)}, "leaky": options}
        tables |= {name: {"log": str(self.log)} for name in ("spy", "spy-alias", "spy-wrapper")}
        lines = ["commit = false\n"]
        for name, table in tables.items():
            lines.append(f"[plugins.{name}]\n")
            lines += [f"{key} = {json.dumps(value)}\n" for key, value in table.items()]
        (self.root / "config/tskeyvault/config.toml").write_text("".join(lines))

    def copy(self, root: Path, packages: Path | None = None) -> "Bench":
        """Return the same, all below the new directory *root*, where the spy has seen nothing yet."""
        copy_world(self.root, root, "seen")
        copied = Bench(root, packages or self.packages)
        copied.configure()
        return copied

    def seen(self) -> str:
        """Return all that the spy has written down."""
        return self.log.read_text() if self.log.exists() else ""

    def recipient(self) -> str:
        """Return that of the demo, as the demo says."""
        code = "import sys, tskeyvault_demo as d; print(*d.Plugin({'key_file': sys.argv[1]}).vault_own_recipients())"
        done = run_python("-c", code, self.passphrase, env=self.env)
        recipient = done.out.decode().strip()
        assert len(recipient) == len("demo:12345678"), done.err
        return recipient


@pytest.fixture(scope="session")
def plain(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Give a vault as it is made, to be copied."""
    bench = Bench(tmp_path_factory.mktemp("plain"), installed)
    for path in (bench.directory, bench.root / "config/tskeyvault"):
        path.mkdir(parents=True)
    bench.passphrase.write_text(f"{made_key().decode()}\n")
    bench.configure()
    bench.done("init")
    return bench


@pytest.fixture(scope="session")
def with_demo(plain: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Give a vault with the recipient of the demo, to be copied."""
    bench = plain.copy(tmp_path_factory.mktemp("demo") / "bench")
    bench.done("recipients", "add", bench.recipient(), "--plugin", "demo", "--name", "all")
    return bench


@pytest.fixture(scope="session")
def with_spy(with_demo: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Give a vault with secrets of age, of the demo and of the spy, to be copied."""
    bench = with_demo.copy(tmp_path_factory.mktemp("spy") / "bench")
    bench.done("recipients", "add", "whoever", "--plugin", "spy")
    bench.done("insert", "ours/age", input=b"the value of age")
    bench.done("insert", "demo:ours/demo", input=b"the value of demo")
    bench.done("insert", "spy:theirs", input=b"the value of the spy")
    services(bench.directory, SERVICES)
    return bench


@pytest.fixture(scope="session")
def with_leaky(plain: Bench, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Give a vault with an approved recipient of a plugin that is not there yet, to be copied."""
    bench = plain.copy(tmp_path_factory.mktemp("leaky") / "bench")
    (bench.store / ".leaky-recipients").write_text("whoever\n")
    bench.done("recipients", "ack", "--yes")
    return bench


@pytest.fixture
def bench(with_demo: Bench, tmp_path: Path) -> Bench:
    """Give a vault with the recipient of the demo."""
    return with_demo.copy(tmp_path / "bench")


@pytest.fixture
def watched(with_spy: Bench, tmp_path: Path) -> Bench:
    """Give a vault with secrets of age, of the demo and of the spy."""
    return with_spy.copy(tmp_path / "bench")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Give an empty directory to install packages in."""
    (tmp_path / "packages").mkdir()
    return tmp_path / "packages"


SERVICES = """
[services.web.files.one]
secret = "ours/age"
[services.web.files.two]
secret = "demo:ours/demo"
[services.web.files.three]
secret = "spy:theirs"
[services.web.files.four]
secret = "ours/age"
[services.web.files."all.env"]
format = "env"
values = { A = "ours/age", B = "spy:theirs", C = "demo:ours/demo" }
"""


@pytest.mark.parametrize("prefix", ["demo:", ""], ids=["by prefix", "as backend"])
def test_every_command_works_with_a_plugin_of_others(bench: Bench, memory: Path, prefix: str) -> None:
    key, name = made_key(), f"{prefix}tailscale/key"
    settings = bench.directory / "vault.toml"
    if not prefix:
        settings.write_text(settings.read_text().replace('backend = "age"', 'backend = "demo"'))
    bench.done("insert", name, input=key)
    assert key not in (bench.store / "tailscale/key.demo").read_bytes()
    for reference in (name, "tailscale/key", "demo:tailscale/key"):
        assert bench.done("show", reference).out == key
    assert bench.done("ls").out == b"tailscale/key\n"
    (listed,) = json.loads(bench.done("ls", "--json").out)
    assert listed == {"name": "tailscale/key", "plugin": "demo", "path": "secrets/tailscale/key.demo"}
    services(
        bench.directory, f'[services.web.files.key]\nsecret = "{name}"\nformat = "line"\nmode = "0440"\n'
    )
    bench.done("materialize", "web", "--directory", memory, "--check")
    assert list(memory.iterdir()) == []
    bench.done("materialize", "web", "--directory", memory)
    assert (memory / "key").read_bytes() == key
    bench.done("materialize", "web", "--directory", memory, "--clean")
    assert list(memory.iterdir()) == []
    bench.done("materialize", "--secret", name, "--to", memory / "single")
    assert (memory / "single").read_bytes() == key
    bench.done("insert", "--force", name, input=b"another value")
    assert bench.done("show", name).out == b"another value"
    assert bench.recipient().encode() in bench.done("recipients", "ls").out
    assert "all recipients are approved" in bench.done("recipients", "ack").err
    assert b"demo " in bench.done("plugins").out
    bench.done("rm", "--force", name)
    assert bench.done("ls").out == b""
    assert bench.vault("show", name).code == 3


def test_secrets_of_several_plugins_live_side_by_side(bench: Bench) -> None:
    bench.done("insert", "key", input=b"of age")
    bench.done("insert", "demo:key", input=b"of demo")
    assert bench.done("ls").out == b"key\nkey\n"
    assert bench.done("show", "age:key").out == b"of age"
    assert bench.done("show", "demo:key").out == b"of demo"
    ambiguous = bench.vault("show", "key")
    assert ambiguous.code == 2
    assert "name one: age:key or demo:key" in ambiguous.err


def test_ciphertexts_of_others_are_bound_too(bench: Bench) -> None:
    store = bench.store
    bench.done("insert", "demo:a", input=b"first value")
    old = (store / "a.demo").read_bytes()
    bench.done("insert", "--force", "demo:a", input=b"second value")
    (store / "b.demo").write_bytes((store / "a.demo").read_bytes())
    copied = bench.vault("show", "demo:b")
    assert (copied.code, copied.out) == (5, b"")
    assert "copied over it" in copied.err
    (store / "a.demo").write_bytes(old)
    rolled = bench.vault("show", "demo:a")
    assert (rolled.code, rolled.out) == (5, b"")
    assert "rolled back to generation 1" in rolled.err


def test_failures_of_others_have_their_own_code(bench: Bench) -> None:
    bench.done("insert", "demo:a", input=b"some value")
    path = bench.store / "a.demo"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    state = bench.root / "state/tskeyvault"
    remembered = {file: file.read_bytes() for file in state.iterdir()}
    for file in remembered:
        file.unlink()
    assert (bench.vault("show", "demo:a").code, bench.vault("show", "demo:a").out) == (5, b"")
    for file, data in remembered.items():
        file.write_bytes(data)
    path.write_bytes(whole)
    bench.passphrase.write_text("another")
    assert bench.vault("show", "demo:a").code == 4
    bench.passphrase.unlink()
    assert bench.vault("show", "demo:a").code == 4
    assert bench.vault("insert", "--force", "demo:a", input=b"x").code == 4
    assert path.read_bytes() == whole


def test_a_recipient_that_the_plugin_refuses_is_not_written_down(bench: Bench) -> None:
    path = bench.store / ".demo-recipients"
    before = path.read_text()
    refused = bench.vault("recipients", "add", "demo:00000000", "--plugin", "demo")
    assert refused.code == 2
    assert path.read_text() == before


# The spy.


def saw_only_its_own(bench: Bench) -> None:
    seen = bench.seen()
    assert '"First"' in seen
    for foreign in (
        "value of age",
        "value of demo",
        "ours",
        ".age",
        ".demo",
        "key_file",
        "passphrase",
        "age1",
    ):
        assert foreign not in seen


def test_a_spy_sees_its_own_calls_and_no_others_in_the_same_command(watched: Bench, memory: Path) -> None:
    watched.done("materialize", "web", "--directory", memory)
    assert (memory / "one").read_bytes() == b"the value of age"
    assert (memory / "two").read_bytes() == b"the value of demo"
    assert (memory / "three").read_bytes() == b"the value of the spy"
    assert (
        memory / "all.env"
    ).read_bytes() == b'A="the value of age"\nB="the value of the spy"\nC="the value of demo"\n'
    calls = [json.loads(line)[1] for line in watched.seen().splitlines()]
    assert calls == ["options", "binding", "decrypt", "materialize", "close"]
    assert "the value of the spy" in watched.seen()
    saw_only_its_own(watched)


def test_a_spy_sees_no_other_call_of_any_command(watched: Bench) -> None:
    watched.done("recipients", "ls")
    watched.done("ls", "--json")
    watched.done("insert", "--force", "ours/age", input=b"the value of age")
    watched.done("insert", "--force", "demo:ours/demo", input=b"the value of demo")
    watched.done("insert", "--force", "spy:theirs", input=b"the value of the spy")
    watched.done("rm", "--force", "ours/age", "spy:theirs")
    saw_only_its_own(watched)


def test_a_spy_that_is_not_named_is_not_loaded(watched: Bench) -> None:
    watched.done("show", "ours/age")
    watched.done("show", "demo:ours/demo")
    watched.done("ls")
    watched.done("plugins")
    watched.done("insert", "new", input=b"new value")
    assert not watched.log.exists()


def test_hooks_under_other_names_serve_their_own_secrets_only(watched: Bench) -> None:
    watched.done("recipients", "add", "whoever", "--plugin", "spy-alias")
    watched.done("insert", "spy-alias:theirs2", input=b"another value of the spy")
    # It has no vault_binding, so nothing is kept of it.
    assert b"value of the spy" in watched.done("show", "spy-alias:theirs2").out
    watched.done("show", "ours/age")
    saw_only_its_own(watched)


def test_a_wrapper_is_refused_by_name(watched: Bench) -> None:
    refused = watched.vault("recipients", "add", "whoever", "--plugin", "spy-wrapper")
    assert refused.code == 6
    assert "plugin 'spy-wrapper': vault_decrypt is a wrapper" in refused.err
    assert '"Wrapper", "decrypt"' not in watched.seen()
    assert not (watched.store / ".spy-wrapper-recipients").exists()


def test_the_names_of_built_in_plugins_cannot_be_taken(watched: Bench) -> None:
    rows = json.loads(watched.done("plugins", "--json").out)
    refused = {(row["name"], row["package"]): row["refused"] for row in rows}
    assert refused["age", "tskeyvault"] == ""
    assert refused["age", "tskeyvault-spy"] == "refused: a built-in plugin has this name"
    assert refused["Spy", "tskeyvault-spy"] == "refused: not a name for a plugin"
    assert refused["demo", "tskeyvault-demo"] == refused["spy", "tskeyvault-spy"] == ""
    assert {row["version"] for row in rows if row["package"] == "tskeyvault-spy"} == {"6.6.6"}
    text = watched.done("plugins").out.decode()
    assert "refused: a built-in plugin has this name" in text


# Plugins that break the contract, with a secret at hand.

LEAKY = """\
import sys
from tskeyvault.errors import VaultError
from tskeyvault.spec import hookimpl

class BareError(VaultError):
    def __init__(self, text):
        Exception.__init__(self, text)

class DoneError(VaultError):
    exit_code = 0

class ShownError(Exception):
    def __str__(self):
        raise SystemExit(0)
    __repr__ = __str__

class Plugin:
    def __init__(self, options):
        self.kind = options["kind"]
        if self.kind == "exit when made":
            raise SystemExit(0)

    def __getattribute__(self, name):
        if name == "vault_decrypt" and self.kind == "exit when looked at":
            raise SystemExit(0)
        return object.__getattribute__(self, name)

    @hookimpl
    def vault_encrypt(self, plaintext):
        if not plaintext:
            return b"probe"
        text = plaintext.decode()
        if self.kind == "plaintext":
            return plaintext
        if self.kind == "within":
            return b"cipher" + plaintext + b"text"
        if self.kind == "text":
            return text
        if self.kind == "error":
            raise RuntimeError(text)
        if self.kind == "chained":
            try:
                raise ValueError(text)
            except ValueError as error:
                raise RuntimeError(text) from error
        if self.kind == "exit":
            raise SystemExit(text)
        if self.kind == "exit zero":
            raise SystemExit(0)
        if self.kind == "bare":
            raise BareError(text)
        if self.kind == "done":
            raise DoneError("all is well")
        if self.kind == "shown":
            raise ShownError(text)
        if self.kind == "group":
            raise BaseExceptionGroup(text, [SystemExit(text)])
        if self.kind == "recursion":
            return self.vault_encrypt(plaintext)
        raise AssertionError(self.kind)

    @hookimpl
    def vault_decrypt(self):
        return b"never"
"""

BREAKING = [
    "plaintext", "within", "text", "error", "chained", "exit", "exit zero", "bare", "done", "shown", "group",
    "recursion", "exit when made", "exit when looked at",
]  # fmt: skip


@pytest.mark.parametrize("kind", BREAKING)
def test_a_plugin_that_breaks_the_contract_gives_nothing_away(
    with_leaky: Bench, tmp_path: Path, packages: Path, kind: str
) -> None:
    package(packages, "leaky", LEAKY, "leaky")
    bench = with_leaky.copy(tmp_path / "bench", packages)
    bench.configure(kind=kind)
    key = made_key()
    result = bench.vault("insert", "leaky:a", input=key)
    assert result.code == 6, result
    assert re.match(r"vault: (secret '\w+': )?plugin 'leaky'", result.err)
    assert "Traceback" not in result.err
    assert key.decode() not in result.err
    assert result.out == b""
    assert not (bench.store / "a.leaky").exists()


HONEST = """\
from tskeyvault.spec import hookimpl

class Plugin:
    def __init__(self, options):
        pass

    @hookimpl
    def vault_encrypt(self, plaintext):
        return plaintext[::-1]

    @hookimpl
    def vault_decrypt(self, ciphertext):
        return ciphertext[::-1]
"""


def test_a_name_that_two_packages_have_is_refused(plain: Bench, tmp_path: Path, packages: Path) -> None:
    for name in ("one", "two"):
        package(packages, name, HONEST, "twin", name)
    bench = plain.copy(tmp_path / "bench", packages)
    refused = bench.vault("recipients", "add", "whoever", "--plugin", "twin")
    assert refused.code == 6
    assert "plugin 'twin' is provided by 2 packages" in refused.err
    rows = json.loads(bench.done("plugins", "--json").out)
    assert {(row["name"], row["package"], row["refused"]) for row in rows} == {
        ("age", "tskeyvault", ""),
        ("gpg", "tskeyvault", ""),
        ("pass", "tskeyvault", ""),
        ("yubikey", "tskeyvault", ""),
        ("one", "one", ""),
        ("two", "two", ""),
        ("twin", "one", "refused: several packages provide it"),
        ("twin", "two", "refused: several packages provide it"),
    }


def test_a_plugin_without_a_binding_still_works_and_is_warned_of(
    plain: Bench, tmp_path: Path, packages: Path
) -> None:
    package(packages, "one", HONEST, "one")
    bench = plain.copy(tmp_path / "bench", packages)
    bench.done("recipients", "add", "whoever", "--plugin", "one")
    bench.done("insert", "one:a", input=b"some value here")
    shown = bench.done("show", "one:a")
    assert shown.out == b"some value here"
    (bench.store / "b.one").write_bytes(b"eulav rehtona")
    shown = bench.done("show", "one:b")
    assert shown.out == b"another value"
    assert "is not bound to its name yet" in shown.err


def test_a_plugin_that_cannot_be_imported_is_told_by_name(
    plain: Bench, tmp_path: Path, packages: Path
) -> None:
    for number, code in enumerate(("raise SystemExit(0)", "import nowhere", "x = ", "pass")):
        package(packages, f"broken{number}", code, f"broken{number}")
    bench = plain.copy(tmp_path / "bench", packages)
    for number, kind in enumerate(("SystemExit", "ModuleNotFoundError", "SyntaxError", "AttributeError")):
        refused = bench.vault("recipients", "add", "whoever", "--plugin", f"broken{number}")
        assert (refused.code, refused.err) == (
            6,
            f"vault: plugin 'broken{number}': loading failed with {kind}\n",
        )
