"""``vault edit``: the editor sees plain text in memory, and whatever happens it does not stay there."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support import needs
from support.terminal import VAULT, Terminal
from support.vaults import Made, Result, make_vault, run_vault

LOOK = """\
#!{python}
import json, os, subprocess, sys
path = os.path.abspath(sys.argv[-1])
room = os.path.dirname(path)
seen = {{
    "arguments": sys.argv[1:],
    "room": room,
    "room mode": os.stat(room).st_mode & 0o7777,
    "files": sorted(os.listdir(room)),
    "mode": os.stat(path).st_mode & 0o7777 if os.path.exists(path) else None,
    "type": subprocess.run(["stat", "-f", "-c", "%T", room], capture_output=True, text=True).stdout.strip(),
    "before": open(path).read() if os.path.exists(path) else None,
}}
with open({seen!r}, "w") as file:
    json.dump(seen, file)
{then}
"""


class Editor:
    """An editor that writes down what it sees, and then does what it was made for."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch):
        self._directory = directory
        self._set = monkeypatch.setenv

    def does(self, then: str, *, name: str = "editor", options: str = "", variable: str = "EDITOR") -> Path:
        """Make the editor *name*, which is run with *options*, and does *then* with the file ``path``."""
        program = self._directory / name
        seen = str(self._directory / "seen")
        program.write_text(LOOK.format(python=sys.executable, seen=seen, then=then))
        program.chmod(0o755)
        self._set(variable, f"{program} {options}".strip())
        return program

    def writes(self, text: str) -> None:
        """Make an editor that replaces the text."""
        self.does(f"open(path, 'w').write({text!r})")

    @property
    def seen(self) -> dict[str, object]:
        """What it has seen."""
        found: dict[str, object] = json.loads((self._directory / "seen").read_text())
        return found

    @property
    def room(self) -> Path:
        """The directory that it was given."""
        return Path(str(self.seen["room"]))


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Give a vault with a secret, in which the test stands."""
    made = make_vault(tmp_path / "vault")
    monkeypatch.chdir(made.directory)
    assert run_vault("insert", "a/b", input=b"before\n").code == 0
    return made


@pytest.fixture
def editor(vault: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Editor]:
    """Give an editor; at the end there is no plain text in memory, but for what the test has taken away itself."""
    assert vault.directory.exists()
    with tempfile.TemporaryDirectory(prefix="tskeyvault-edit-", dir="/dev/shm") as memory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", memory)
        yield Editor(tmp_path, monkeypatch)
        assert os.listdir(memory) == []


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def shown(name: str) -> bytes:
    return run_vault("show", name).out


class Stored(NamedTuple):
    """All that an edit can change."""

    files: dict[str, bytes]
    head: str


def stored() -> Stored:
    files = {str(path): path.read_bytes() for path in Path("secrets").rglob("*") if path.is_file()}
    return Stored(files, git("rev-parse", "HEAD"))


def test_a_changed_secret_is_written_and_committed(editor: Editor) -> None:
    editor.writes("after\n")
    assert run_vault("edit", "a/b") == Result(0, b"", "vault: wrote secret 'a/b'\n")
    assert shown("a/b") == b"after\n"
    assert git("log", "-1", "--format=%s") == "Edit secret a/b\n"
    assert git("show", "--name-only", "--format=", "HEAD") == "secrets/a/b.age\n"
    assert git("status", "--porcelain") == ""


def test_the_plain_text_is_in_memory_in_a_directory_of_its_own_and_gone_afterwards(editor: Editor) -> None:
    editor.writes("after\n")
    assert run_vault("edit", "a/b").code == 0
    seen = editor.seen
    assert seen["room mode"] == 0o700
    assert seen["files"] == ["b"]
    assert seen["mode"] == 0o600
    assert seen["type"] in {"tmpfs", "ramfs"}
    assert seen["before"] == "before\n"
    assert not editor.room.exists()


def test_an_unchanged_secret_is_left_as_it_is(editor: Editor) -> None:
    editor.does("")
    before = stored()
    assert run_vault("edit", "a/b") == Result(0, b"", "vault: secret 'a/b' is unchanged\n")
    assert stored() == before


@pytest.mark.parametrize("then", ["", "os.unlink(path)"], ids=["untouched", "removed"])
def test_an_editor_that_leaves_no_new_file_changes_nothing(editor: Editor, then: str) -> None:
    editor.does(then)
    before = stored()
    name = "a/b" if then else "new"
    assert run_vault("edit", name) == Result(0, b"", f"vault: secret '{name}' is unchanged\n")
    assert stored() == before


def test_a_new_secret_is_made(editor: Editor) -> None:
    editor.writes("value")
    assert run_vault("edit", "x/new") == Result(0, b"", "vault: wrote secret 'x/new'\n")
    assert (editor.seen["files"], editor.seen["before"]) == ([], None)
    assert shown("x/new") == b"value"
    assert git("log", "-1", "--format=%s") == "Add secret x/new\n"


def test_no_commit(editor: Editor) -> None:
    editor.writes("after")
    assert run_vault("edit", "a/b", "--no-commit").code == 0
    assert git("status", "--porcelain") == " M secrets/a/b.age\n"


def test_an_emptied_secret_is_refused(editor: Editor) -> None:
    editor.writes("")
    before = stored()
    assert run_vault("edit", "a/b") == Result(2, b"", "vault: an empty secret is refused\n")
    assert stored() == before


def test_an_edit_keeps_the_expiry(editor: Editor) -> None:
    assert run_vault("insert", "a/b", "-f", "--expires", "2190-01-02", input=b"1").code == 0
    editor.writes("after")
    assert run_vault("edit", "a/b").code == 0
    [row] = json.loads(run_vault("status", "--json").out)
    assert (row["expires"], row["generation"]) == ("2190-01-02T23:59:59Z", 3)


@pytest.mark.parametrize(("then", "status"), [("sys.exit(1)", 1), ("os.kill(os.getpid(), 9)", 137)])
def test_a_failed_editor_changes_nothing_and_leaves_nothing(editor: Editor, then: str, status: int) -> None:
    editor.does(f"open(path, 'w').write('after')\n{then}")
    before = stored()
    message = f"vault: the editor ended with status {status}: nothing was changed\n"
    assert run_vault("edit", "a/b") == Result(6, b"", message)
    assert stored() == before
    assert not editor.room.exists()


def test_the_editor_gets_its_own_arguments_before_the_file(editor: Editor) -> None:
    editor.does("open(path, 'w').write('after')", name="my editor", options="-n 'two words'")
    program = f"'{os.environ['EDITOR'].partition(' -n')[0]}'"
    env = {"EDITOR": f"{program} -n 'two words'"}
    assert run_vault("edit", "a/b", env=env).code == 0
    assert editor.seen["arguments"] == ["-n", "two words", "./b"]


def test_no_name_is_a_command_to_the_editor(editor: Editor) -> None:
    editor.writes("x")
    assert run_vault("edit", "+!id").code == 0
    assert editor.seen["arguments"] == ["./+!id"]


def test_visual_goes_before_editor(editor: Editor) -> None:
    editor.does("open(path, 'w').write('by VISUAL')", name="visual", variable="VISUAL")
    editor.does("sys.exit(1)")
    assert run_vault("edit", "a/b").code == 0
    assert shown("a/b") == b"by VISUAL"
    assert run_vault("edit", "a/b", env={"VISUAL": ""}).code == 6


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ("/no/such/editor", 6, "/no/such/editor is not installed"),
        ("/", 6, "/ cannot be started"),
        (" ", 2, "VISUAL and EDITOR name no program"),
        ("vi 'open", 2, "VISUAL or EDITOR has a quote without an end"),
    ],
)
@pytest.mark.usefixtures("editor")
def test_an_editor_that_cannot_be_run_is_named(value: str, code: int, message: str) -> None:
    before = stored()
    assert run_vault("edit", "a/b", env={"EDITOR": value}) == Result(code, b"", f"vault: {message}\n")
    assert stored() == before


def test_without_any_editor_it_is_vi(editor: Editor, tmp_path: Path) -> None:
    program = editor.does("open(path, 'w').write('by vi')", name="vi")
    env = {"EDITOR": "", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    assert run_vault("edit", "a/b", env=env).code == 0
    assert shown("a/b") == b"by vi"
    assert program.parent == tmp_path


def test_what_editors_leave_beside_the_file_goes_too(editor: Editor) -> None:
    extra = "for name in ('.b.swp', 'b~', '#b#'): open(os.path.join(room, name), 'w').write('before')\n"
    folder = (
        "os.mkdir(os.path.join(room, '.undo')); open(os.path.join(room, '.undo/b'), 'w').write('before')\n"
    )
    replace = "open(path + '.new', 'w').write('after'); os.replace(path + '.new', path)"
    editor.does(extra + folder + replace)
    assert run_vault("edit", "a/b").code == 0
    assert shown("a/b") == b"after"
    assert not editor.room.exists()


def test_a_link_in_place_of_the_file_is_not_followed(editor: Editor, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("not a secret")
    editor.does(f"os.unlink(path); os.symlink({str(tmp_path / 'other')!r}, path)")
    before = stored()
    done = run_vault("edit", "a/b")
    assert done.code == 5
    assert stored() == before
    discard(editor, done)


def discard(editor: Editor, done: Result) -> None:
    """Check that the directory was kept and told, and remove it as the user would."""
    warning = f"what you wrote is kept in '{editor.room}', in memory: remove it when you have it"
    assert f"vault: warning: {warning}\n" in done.err
    assert editor.room.stat().st_mode & 0o7777 == 0o700
    for path in editor.room.iterdir():
        path.unlink()
    editor.room.rmdir()


def test_what_cannot_be_encrypted_is_kept_and_where_is_told(editor: Editor, tmp_path: Path) -> None:
    stranger = run_vault("keygen", "-o", tmp_path / "stranger").out.decode().strip()
    readers = os.path.abspath("secrets/.age-recipients")
    editor.does(
        f"open(path, 'w').write('hours of work')\nopen({readers!r}, 'a').write({stranger + chr(10)!r})"
    )
    before = stored()
    done = run_vault("edit", "a/b")
    assert (done.code, done.out) == (5, b"")
    assert "are not those this host approved" in done.err
    assert "hours of work" not in done.err
    assert (editor.room / "b").read_text() == "hours of work"
    assert (editor.room / "b").stat().st_mode & 0o7777 == 0o600
    after = stored()
    assert {path for path in after.files if after.files[path] != before.files[path]} == {
        "secrets/.age-recipients"
    }
    discard(editor, done)


def test_what_is_too_large_is_kept_too(editor: Editor) -> None:
    editor.does("open(path, 'w').write('x' * ((16 << 20) + 1))")
    before = stored()
    done = run_vault("edit", "a/b")
    assert done.code == 5
    assert stored() == before
    assert (editor.room / "b").stat().st_size == (16 << 20) + 1
    discard(editor, done)


@pytest.mark.parametrize("name", ["a/b", "new"])
def test_what_another_one_wrote_meanwhile_is_not_lost_and_neither_is_the_edit(
    editor: Editor, name: str
) -> None:
    other = [*VAULT, "insert", "-f", name]
    editor.does(
        f"open(path, 'w').write('mine')\nsubprocess.run({other!r}, input=b'of another', check=True, "
        f"cwd={str(Path.cwd())!r}, stderr=subprocess.DEVNULL)"
    )
    done = run_vault("edit", name)
    assert done.code == 5
    assert f"vault: secret '{name}' was changed meanwhile\n" in done.err
    assert shown(name) == b"of another"
    discard(editor, done)


def test_who_may_not_write_is_told_before_the_editor_starts(editor: Editor, tmp_path: Path) -> None:
    editor.writes("after")
    with Path("secrets/.age-recipients").open("a") as file:
        file.write(run_vault("keygen", "-o", tmp_path / "stranger").out.decode())
    assert run_vault("edit", "a/b").code == 5
    assert run_vault("edit", "a/b", "-i", tmp_path / "stranger").code == 5
    assert not (tmp_path / "seen").exists()


def test_without_a_key_no_editor_starts(editor: Editor, tmp_path: Path) -> None:
    editor.writes("after")
    run_vault("keygen", "-o", tmp_path / "stranger")
    assert run_vault("edit", "a/b", "-i", tmp_path / "stranger").code == 4
    assert not (tmp_path / "seen").exists()


@pytest.fixture
def running(editor: Editor, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start an edit whose editor has written, and waits until it is told to go on."""
    fifo, go = tmp_path / "fifo", tmp_path / "go"
    os.mkfifo(fifo)
    os.mkfifo(go)
    editor.does(
        f"open(path, 'w').write('half')\nopen({str(fifo)!r}, 'w').write('x')\nopen({str(go)!r}).read()"
    )
    process = subprocess.Popen([*VAULT, "edit", "a/b"], stderr=subprocess.PIPE)
    fifo.read_bytes()
    assert (editor.room / "b").read_text() == "half"
    yield process
    # An editor that outlived its vault ends when it may go on.
    try:
        os.close(os.open(go, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        assert not editor.room.exists()


def test_sigterm_leaves_nothing(running: "subprocess.Popen[bytes]", editor: Editor) -> None:
    before = stored()
    running.send_signal(signal.SIGTERM)
    err = running.communicate(timeout=30)[1]
    assert (running.returncode, err) == (7, b"vault: edit: stopped by SIGTERM\n")
    assert not editor.room.exists()
    assert stored() == before


def test_sigkill_leaves_nothing(running: "subprocess.Popen[bytes]", editor: Editor) -> None:
    before = stored()
    watcher = subprocess.Popen(
        [sys.executable, "-c", WAIT_UNTIL_GONE, editor.room], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    running.kill()
    assert watcher.communicate(timeout=30)[0] == b"gone\n"
    assert running.wait(timeout=30) == -signal.SIGKILL
    if running.stderr:
        running.stderr.close()
    assert stored() == before


WAIT_UNTIL_GONE = """\
import os, sys, time
end = time.monotonic() + 20
while os.path.exists(sys.argv[1]) and time.monotonic() < end:
    os.sched_yield()
print("there" if os.path.exists(sys.argv[1]) else "gone")
"""


def test_ctrl_c_is_for_the_editor(editor: Editor) -> None:
    needs.program("setsid")
    editor.does(
        "import signal\nopen(path, 'w').write('half')\n"
        "try:\n  print('ready', flush=True)\n  while True: signal.pause()\nexcept KeyboardInterrupt: open(path, 'w').write('after Ctrl-C')"
    )
    with Terminal("edit", "a/b") as terminal:
        terminal.expect("ready")
        terminal.type(b"\x03")
        assert terminal.end() == 0, terminal.seen
    assert shown("a/b") == b"after Ctrl-C"
    assert not editor.room.exists()


def test_ctrl_c_that_ends_the_editor_leaves_nothing(editor: Editor) -> None:
    needs.program("setsid")
    editor.does(
        "import signal\nsignal.signal(2, signal.SIG_DFL)\nopen(path, 'w').write('half')\n"
        "print('ready', flush=True)\nsignal.pause()"
    )
    before = stored()
    with Terminal("edit", "a/b") as terminal:
        terminal.expect("ready")
        terminal.type(b"\x03")
        assert terminal.end() == 6
    assert "vault: the editor ended with status 130: nothing was changed\n" in terminal.seen
    assert not editor.room.exists()
    assert stored() == before
