"""docs/plugins.md does what it says: its tutorial ends in a package that passes the kit; its reference is whole."""

import base64
import inspect
import os
import re
import runpy
import secrets
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from support import documents, needs
from support.documents import CHECKOUT
from tskeyvault import errors
from tskeyvault.errors import VaultError
from tskeyvault.spec import VaultSpec
from tskeyvault.testing import BackendContract
from tskeyvault_hooks import state
from tskeyvault_hooks.finder import Finder

PAGE = "docs/plugins.md"
SECONDS = 300
LANGUAGES = {"toml", "python", "sh"}
"""Of the page's blocks: the first two are files, the last is run."""

_FILE = re.compile(r"# ([\w.-]+)\n")


class Tutorial(NamedTuple):
    """The folder that the tutorial makes, after all of its commands, and what each block said."""

    folder: Path
    home: Path
    said: list[str]


def environment(root: Path) -> dict[str, str]:
    """Return the environment of a new user, with a Python environment of their own and no network.

    It sees what is installed for the running interpreter, and the vault of the checkout.
    """
    tree = root / "venv"
    venv.create(tree, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # pip and pytest come from where the tests have them; --system-site-packages would pass over that.
    places = [
        CHECKOUT / "core",
        CHECKOUT / "plugins",
        CHECKOUT / "hooks",
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    ]
    lines = dict.fromkeys(map(str, places))
    (tree / f"lib/{version}/site-packages/checkout.pth").write_text("".join(f"{line}\n" for line in lines))
    (tree / "bin/vault").write_text(
        f"#!{tree}/bin/python\nfrom tskeyvault.cli import main\nraise SystemExit(main())\n"
    )
    (tree / "bin/vault").chmod(0o755)
    home = root / "home"
    (home / ".config").mkdir(parents=True)
    kept = {name: os.environ[name] for name in ("LANG", "GIT_CONFIG_NOSYSTEM") if name in os.environ}
    (home / ".gitconfig").write_text("[user]\nname = Test User\nemail = test@example.org\n")
    return {
        **kept,
        "PATH": f"{tree}/bin:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that there is none
        "PIP_NO_DEPS": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    """Write the files of the page and run its commands, in the order of the page."""
    needs.program("git")
    root = tmp_path_factory.mktemp("tutorial")
    variables = environment(root)
    folder = root / "tskeyvault-seal"
    folder.mkdir()
    said = []
    for block in documents.blocks(PAGE):
        if block.language == "sh":
            done = subprocess.run(
                ["sh", "-euc", block.text],
                check=False,
                capture_output=True,
                text=True,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                timeout=SECONDS,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"
            said.append(done.stdout + done.stderr)
        else:
            (folder / file_name(block.text)).write_text(block.text)
    return Tutorial(folder, root / "home", said)


def file_name(text: str) -> str:
    """Return the name that the first line of a file gives it."""
    match = _FILE.match(text)
    assert match, text
    return match[1]


def test_every_block_is_a_file_or_is_run() -> None:
    assert {block.language for block in documents.blocks(PAGE)} == LANGUAGES
    files = [file_name(block.text) for block in documents.blocks(PAGE) if block.language != "sh"]
    assert sorted(files) == ["pyproject.toml", "test_seal.py", "tskeyvault_example.py", "tskeyvault_seal.py"]


def test_the_tutorial_ends_in_a_package_that_passes_the_kit(tutorial: Tutorial) -> None:
    installed = tutorial.said[0]
    checks = sum(1 for name in dir(BackendContract) if name.startswith("test_"))
    passed = re.search(r"^(\d+) passed in", installed, re.MULTILINE)
    assert passed, installed
    assert int(passed[1]) >= checks
    assert "skipped" not in installed


def test_the_tutorial_uses_the_backend(tutorial: Tutorial) -> None:
    said = tutorial.said[2]
    assert re.search(r"^seal +tskeyvault-seal 0\.1\.0$", said, re.MULTILINE), said
    assert re.search(r"^seal:web/password$|^web/password\b", said, re.MULTILINE), said
    shown = re.findall(r"^[A-Za-z0-9+/]{32}$", said, re.MULTILINE)
    assert len(shown) == 1, said
    store = tutorial.home / "infra/secrets"
    assert (store / ".seal-recipients").read_text().startswith("# host web1\nseal1")
    assert (store / "web/password.seal").read_bytes().startswith(b"tskeyvault-seal 1\n")
    assert shown[0].encode() not in b"".join(path.read_bytes() for path in store.rglob("*") if path.is_file())


def test_the_tutorial_ends_in_a_wheel(tutorial: Tutorial) -> None:
    (wheel,) = (tutorial.folder / "dist").glob("*.whl")
    assert wheel.name == "tskeyvault_seal-0.1.0-py3-none-any.whl"
    assert wheel.name in tutorial.said[3]
    with zipfile.ZipFile(wheel) as archive:
        entry_points = archive.read("tskeyvault_seal-0.1.0.dist-info/entry_points.txt").decode()
        assert "tskeyvault_seal.py" in archive.namelist()
    assert "[tskeyvault.plugins]\nseal = tskeyvault_seal:Plugin" in entry_points


def test_the_patterns_of_the_page_find_what_they_say(tutorial: Tutorial) -> None:
    plugin = runpy.run_path(str(tutorial.folder / "tskeyvault_example.py"))["Plugin"]()
    (pattern,) = plugin.vault_patterns()
    finder = Finder(state.parse(state.render([tuple(pattern)])))
    token = f"exmpl_live_{secrets.token_hex(16)}".encode()
    for data in (b"token: " + token, base64.b64encode(b"a" + token), token.decode().encode("utf-16")):
        (hit,) = finder.find(data)
        assert (hit.kind, hit.secret) == ("Example token", token[11:])
    assert not finder.find(b"exmpl_live_" + b"x" * 32)


def sections() -> dict[str, str]:
    """Return the text of each section of the page by its heading."""
    text = re.sub(r"^```.*?^```$", "", (CHECKOUT / PAGE).read_text(), flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^#+ (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def shown_type(annotation: object) -> str:
    """Return *annotation* as people write it, without the None that stands for "not implemented"."""
    if args := [part for part in get_args(annotation) if part is not type(None)]:
        if type(None) in get_args(annotation):
            return shown_type(args[0])
        return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", str(annotation))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def hooks() -> list[str]:
    """Return the names of all hooks."""
    return [name for name in vars(VaultSpec) if name.startswith("vault_")]


@pytest.mark.parametrize("hook", hooks())
def test_every_hook_is_described_with_its_signature(hook: str) -> None:
    signature = inspect.signature(getattr(VaultSpec, hook))
    arguments = [
        f"{name}: {'Options' if name == 'options' else shown_type(parameter.annotation)}"
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    line = f"`{hook}({', '.join(arguments)}) -> {shown_type(signature.return_annotation)}`"
    text = sections()[hook]
    assert text.startswith(f"\n{line}\n\n"), line
    raised = set(re.findall(r"\b(\w+Error)\b", getattr(VaultSpec, hook).__doc__ or ""))
    assert raised <= set(re.findall(r"`(\w+Error)`", text))


def test_no_section_describes_a_hook_that_there_is_not() -> None:
    assert [name for name in sections() if name.startswith("vault_")] == hooks()


def test_every_error_is_described_with_its_exit_code() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VaultError)
    ]
    rows = re.findall(r"^\| `(\w+)` \| (\d) \|", sections()["Errors"], re.MULTILINE)
    assert rows == [(kind.__name__, str(kind.exit_code)) for kind in kinds]


def test_every_attribute_of_the_kit_is_described_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([\w.]+)`? \|", sections()["3. The test"], re.MULTILINE))
    found = {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for kind in BackendContract.__mro__
        for name, value in vars(kind).items()
        if isinstance(value, (bool, int, float)) and not name.startswith("_")
    }
    assert rows == found
