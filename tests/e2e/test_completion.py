"""Completion in the real shells: what the TAB key offers, and what then stands on the command line."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import needs
from support.vaults import PATH, Made, Result, make_vault, run_vault, services
from tskeyvault.cli import COMMANDS

NAMES = ["a/b/c", "ab", "my secret", "schlüssel", "with'quote", "*"]
SHELLS = ["bash", "zsh", "fish"]


@pytest.fixture(autouse=True)
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault with names of all kinds, in which the test stands, and ``vault`` on PATH."""
    made = make_vault(tmp_path / "vault")
    monkeypatch.chdir(made.directory)
    # Completion opens nothing, so that any file will do.
    for name in NAMES:
        path = made.directory / f"secrets/{name}.age"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    services(made.directory, '[services.web-1.files.key]\nsecret = "ab"\n')
    program = tmp_path / "bin/vault"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={PATH} exec {sys.executable} -m tskeyvault "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return made


def words(*typed: str, cwd: Path | None = None) -> set[str]:
    """Return what may stand in place of the last of the words *typed*."""
    done = run_vault("completion", "--words", "--", *typed, cwd=cwd)
    assert (done.code, done.err) == (0, "")
    return set(done.out.decode().splitlines())


def run_shell(*argv: str, cwd: Path | None = None) -> list[str]:
    """Run a shell, which must have no complaints; return its lines."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=cwd, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout.splitlines()


def bash(*typed: str, cwd: Path | None = None) -> list[str]:
    needs.program("bash")
    script = """
        eval "$(vault completion bash)"
        compgen -F _vault -- "" >/dev/null 2>&1
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _vault
        [ "${#COMPREPLY[@]}" = 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
    """
    return run_shell("bash", "--norc", "-c", script, "bash", "vault", *typed, cwd=cwd)


def zsh(*typed: str, cwd: Path | None = None) -> list[str]:
    needs.program("zsh")
    script = """
        compdef() { :; }
        compadd() { shift; print -rl -- "$@"; }
        _files() { :; }
        eval "$(vault completion zsh)"
        words=("$@"); CURRENT=$#; PREFIX=$words[CURRENT]
        _vault
    """
    return run_shell("zsh", "-f", "-c", script, "zsh", "vault", *typed, cwd=cwd)


def fish(*typed: str, cwd: Path | None = None) -> list[str]:
    needs.program("fish")
    # Without -f, fish offers files of the directory too; this asks for ours alone.
    script = 'vault completion fish | source; complete -c vault -f; complete -C "$argv"'
    return run_shell("fish", "--no-config", "-c", script, "--", "vault", *typed, cwd=cwd)


COMPLETE: dict[str, Callable[..., list[str]]] = {"bash": bash, "zsh": zsh, "fish": fish}


# What is offered


def test_commands_and_the_options_before_them() -> None:
    assert words("") == {*COMMANDS, "--help", "--version", "--vault", "--identity"}
    assert words("re") == {"recipients", "rekey"}
    assert words("--v") == {"--vault", "--version"}
    assert words("no-such-command", "") == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_offers_its_options(command: str) -> None:
    typed = [command, "ls"] if command == "recipients" else [command]
    assert words(*typed, "--v") >= {"--vault"}
    assert words(*typed, "--zz") == set()


def test_verbs_and_their_options() -> None:
    assert words("recipients", "") >= {"ls", "add", "rm", "ack"}
    assert words("recipients", "add", "--p") == {"--plan", "--plugin"}
    assert words("recipients", "none", "") == set()
    assert words("hooks", "") >= {"install", "uninstall", "status", "refresh"}
    assert words("hooks", "install", "--") >= {"--server", "--global"}
    assert words("hooks", "status", "--j") == {"--json"}
    assert words("hooks", "refresh", "--g") == set()


def test_what_is_scanned_is_a_choice_of_options_or_left_to_the_shell() -> None:
    assert words("scan", "--s") == {"--sarif", "--staged", "--stdin"}
    assert words("scan", "--allow", "0" * 32, "--r") == {"--range", "--reason"}
    assert words("scan", "--range", "") == words("scan", "--until", "") == set()
    assert words("scan", "a") == set()


@pytest.mark.parametrize("command", ["show", "edit", "insert", "generate"])
def test_names_of_secrets(command: str) -> None:
    assert {word for word in words(command, "") if not word.startswith("-")} == set(NAMES)
    assert words(command, "a") == {"a/b/c", "ab"}
    assert words(command, "my s") == {"my secret"}
    assert not words(command, "ab", "a")


def test_old_and_new_are_secrets_or_folders_and_several_names_are_offered_again() -> None:
    assert words("mv", "a") == {"a", "a/b", "a/b/c", "ab"}
    assert words("cp", "ab", "a") == {"a", "a/b", "a/b/c", "ab"}
    assert not words("cp", "ab", "x", "a")
    assert words("rm", "ab", "a") == {"a/b/c", "ab"}


def test_folders_services_shells_and_choices() -> None:
    for typed in (["ls"], ["status"], ["rekey"], ["grep", "text"], ["recipients", "rm", "--folder"]):
        assert {word for word in words(*typed, "") if not word.startswith("-")} == {"a", "a/b"}
    for command in ("materialize", "run"):
        assert words(command, "w") == {"web-1"}
    assert words("completion", "") >= set(SHELLS)
    assert words("generate", "--alphabet", "") == {"alphanumeric", "digits", "hex", "text"}
    assert words("recipients", "add", "--plugin", "") == set()


def test_what_is_not_ours_is_left_to_the_shell() -> None:
    assert words("--vault", "") == words("-i", "") == words("show", "--vault", "") == set()
    assert words("run", "web-1", "--", "") == set()


@pytest.mark.parametrize("before", [True, False])
def test_the_vault_that_is_named_is_looked_into(tmp_path: Path, *, before: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for place in (["--vault", str(tmp_path / "vault")], [f"--vault={tmp_path / 'vault'}"]):
        typed = [*place, "show"] if before else ["show", *place]
        assert words(*typed, "ab", cwd=elsewhere) == {"ab"}


def test_a_home_that_the_shell_has_not_put_in_yet(tmp_path: Path) -> None:
    (Path(os.environ["HOME"]) / "infra").symlink_to(tmp_path / "vault")
    assert words("--vault", "~/infra", "show", "ab", cwd=tmp_path) == {"ab"}


def test_without_a_vault_there_are_no_names_and_no_complaints(tmp_path: Path) -> None:
    assert words("show", "a", cwd=tmp_path) == set()
    assert words("show", "--vault", "/none", "a", cwd=tmp_path) == set()
    assert words("recipients", "l", cwd=tmp_path) == {"ls"}


def test_a_broken_vault_makes_no_complaints(vault: Made) -> None:
    (vault.directory / "vault.toml").write_text("[")
    assert words("show", "a") == set()


@pytest.mark.parametrize("shell", [[], ["tcsh"], ["bash", "zsh"]])
def test_which_shell_has_to_be_said(shell: list[str]) -> None:
    done = run_vault("completion", *shell)
    assert done == Result(2, b"", "vault: which shell?\nhint: bash, zsh or fish\n")


# In the shells


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_offers_commands_options_verbs_names_folders_and_services(shell: str) -> None:
    complete = COMPLETE[shell]
    assert complete("re") == ["recipients", "rekey"] or complete("re") == ["rekey", "recipients"]
    assert set(complete("recipients", "a")) >= {"ack", "add"}
    assert complete("hooks", "inst") == ["install"]
    assert complete("scan", "--hist") == ["--history"]
    assert "--expires" in complete("insert", "--exp")
    assert complete("show", "schl") == ["schlüssel"]
    assert set(complete("status", "a")) >= {"a", "a/b"}
    assert complete("materialize", "we") == ["web-1"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_offers_names_of_the_vault_that_is_named(shell: str, tmp_path: Path) -> None:
    complete = COMPLETE[shell]
    assert complete("--vault", str(tmp_path / "vault"), "show", "schl", cwd=tmp_path) == ["schlüssel"]


@pytest.mark.parametrize("shell", SHELLS)
def test_no_shell_makes_a_pattern_of_a_name(shell: str) -> None:
    assert [word.replace("\\", "") for word in COMPLETE[shell]("show", "\\*")] == ["*"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_is_silent_without_a_vault(shell: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    # Fish also offers what has the letters anywhere.
    assert set(COMPLETE[shell]("show", "a", cwd=tmp_path / "empty")) <= {
        "--vault",
        "--last-try",
        "--free-reader",
    }


def typed(keys: str, argv: list[str], start: str, prompt: bytes, until: bytes) -> str:
    """Type *start*, a line, and then *keys* into an interactive shell; return what it shows until *until*."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(["setsid", "--ctty", *argv], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""

    def expect(text: bytes) -> None:
        nonlocal seen
        seen, end = b"", time.monotonic() + 30
        while text not in seen:
            assert select.select([ours], [], [], max(0, end - time.monotonic()))[0], seen
            seen += os.read(ours, 1 << 16)

    try:
        os.write(ours, f"{start}\n".encode())
        expect(prompt)
        os.write(ours, keys.encode())
        expect(until)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return seen.decode(errors="replace")


STUB = (
    'vault() { if [ "$1" = completion ]; then command vault "$@"; else printf "<%s>" "$@"; echo " end"; fi; }'
)
INTERACTIVE = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        f'PS1="> "; bind "set enable-bracketed-paste off"; {STUB}; eval "$(vault completion bash)"; echo rea""dy',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        f'PS1="> "; autoload -Uz compinit; compinit -D -u; {STUB}; eval "$(vault completion zsh)"; echo rea""dy',
    ),
}


@pytest.mark.parametrize("shell", INTERACTIVE)
@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ("schl\t", "schlüssel"),
        ("my\t", "my secret"),
        ("my\\ se\t", "my secret"),
        ("'my se\t", "my secret"),
        ("with\t", "with'quote"),
    ],
)
def test_a_completed_name_is_one_word_to_the_shell(shell: str, keys: str, name: str) -> None:
    needs.program(shell, "setsid")
    argv, start = INTERACTIVE[shell]
    assert f"<show><{name}> end" in typed(f"vault show {keys}\n", argv, start, b"ready\r\n", b" end\r\n")


def test_fish_completes_a_name_with_a_space_as_one_word() -> None:
    assert [word.replace("\\", "") for word in fish("show", "my")] == ["my secret"]
    assert [word.replace("\\", "") for word in fish("show", "my\\ s")] == ["my secret"]
    assert "with'quote" in [word.replace("\\", "") for word in fish("show", "wi")]
