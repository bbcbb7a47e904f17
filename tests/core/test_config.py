"""The committed ``vault.toml`` and the local configuration: what they may say, and what they may not."""

import json
import os
import stat
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support import needs
from support.vaults import made_key, run_python
from tskeyvault import config, local, services
from tskeyvault.config import Settings
from tskeyvault.errors import ConfigError, LockedError, NotFoundError, VaultError
from tskeyvault.names import Reference
from tskeyvault.services import File

ID = "0123456789abcdef" * 2
VAULT = f'[vault]\nformat = 1\nid = "{ID}"\n'
NESTED = "[" * 100_000


def parsed(text: str) -> Settings:
    return config.parse(text.encode())


def refusal(text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.parse(text if isinstance(text, bytes) else text.encode())
    assert caught.value.exit_code == 2
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 300
    return caught.value


def file_table(lines: str) -> str:
    return f"{VAULT}[services.web.files.key]\n{lines}\n"


def test_the_least_that_a_vault_needs() -> None:
    assert parsed(VAULT) == Settings(ID, "age", {})


def test_every_key() -> None:
    settings = parsed(
        f"""{VAULT}backend = "demo"
[services.web.files.tskey]
secret = "tailscale/key"
mode = "0440"
owner = "www-data"
group = "adm"
format = "line"
[services.web.files."web.env"]
format = "env"
values = {{ TS_AUTHKEY = "tailscale/key", OTHER = "demo:other" }}
[services."web two".files.all]
values = {{ A = "a" }}
format = "json"
"""
    )
    key = Reference("", "tailscale/key")
    assert settings.id == ID
    assert settings.backend == "demo"
    assert settings.service("web").files == (
        File("tskey", key, (), "line", 0o440, "www-data", "adm"),
        File(
            "web.env",
            None,
            (("TS_AUTHKEY", key), ("OTHER", Reference("demo", "other"))),
            "env",
            0o400,
            "",
            "",
        ),
    )
    assert settings.service("web two").files[0].format == "json"
    assert settings.service("web").files[0].references == (key,)
    assert settings.service("web").files[1].references == (key, Reference("demo", "other"))


def test_the_defaults_of_a_file() -> None:
    (file,) = parsed(file_table('secret = "a"')).service("web").files
    assert file == File("key", Reference("", "a"), (), "raw", 0o400, "", "")


def test_the_defaults_of_a_service() -> None:
    web = parsed(file_table('secret = "a"')).service("web")
    assert (web.units, web.reload, web.layout) == (("web.service",), False, "files")
    spaced = parsed(file_table('secret = "a"').replace("web", '"web *"')).service("web *")
    assert spaced.units == ()  # no unit can be called so, and systemctl would take it for a pattern


def test_what_a_service_says_of_its_units() -> None:
    table = '[services.web]\nlayout = "generations"\nreload = true\nunits = ["b.service", "w@.service", "b.service"]\n'
    web = parsed(file_table('secret = "a"') + table).service("web")
    assert (web.units, web.reload, web.layout) == (("b.service", "w@.service"), True, "generations")


@pytest.mark.parametrize(
    "lines",
    [
        "units = []",
        'units = "web.service"',
        "units = [1]",
        'units = ["web"]',
        'units = ["web.socket"]',
        'units = ["*.service"]',
        'units = ["a b.service"]',
        'units = ["../a.service"]',
        'units = ["--force\\n.service"]',
        f'units = ["{"a" * 256}.service"]',
        f"units = {[f'u{number}.service' for number in range(101)]}",
        'reload = "yes"',
        "reload = 1",
        'layout = "file"',
        "layout = true",
    ],
)
def test_units_reload_and_layout_of_the_wrong_kind_are_refused(lines: str) -> None:
    assert "[services.web]" in refusal(f'{file_table("""secret = "a" """)}[services.web]\n{lines}\n').message


def template_table(text: str, values: str = '{ A = "a" }') -> str:
    return file_table(f'format = "template"\ntemplate = {text}\nvalues = {values}')


def test_a_template() -> None:
    (file,) = parsed(template_table('"x=${A} $$1 ${A}\\n"')).service("web").files
    assert (file.format, file.template) == ("template", "x=${A} $$1 ${A}\n")
    assert file.references == (Reference("", "a"),)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("${A} ${B}", "'B' has no value", 'values = { NAME = "a/secret" }'),
        ("nothing", "does not use 'A'", "${NAME}"),
        ("$$A $${A}", "does not use 'A'", "${NAME}"),
        ("${A}\\n$A", "a lone dollar in line 2", "$$ is a dollar"),
        ("${A} $$$", "a lone dollar in line 1", "$$ is a dollar"),
        ("${A", "a lone dollar in line 1", ""),
        ("${}${A}", "a lone dollar in line 1", ""),
        ("${ A }", "a lone dollar in line 1", ""),
        ("${A:-x}", "a lone dollar in line 1", ""),
        ("${A.__class__}", "a lone dollar in line 1", ""),
        ("${A}$(cat /etc/passwd)", "a lone dollar in line 1", ""),
        ("${A}${file:/etc/passwd}", "a lone dollar in line 1", ""),
        ("${\\u0410}", "a lone dollar in line 1", ""),
        ("${A}" + "x" * (1 << 16), "is larger than 65536 bytes", ""),
        ("${A}" + "é" * (1 << 15), "is larger than 65536 bytes", ""),
        ("${" + "B" * 300 + "}", "has no value", ""),
        ("", "'template', a text, goes with format template", ""),
    ],
)  # fmt: skip
def test_a_template_says_nothing_but_names_and_exactly_those_that_have_values(
    text: str, message: str, hint: str
) -> None:
    error = refusal(template_table(f'"{text}"'))
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    "lines",
    [
        'format = "env"\ntemplate = "${A}"\nvalues = { A = "a" }',
        'secret = "a"\ntemplate = "x"',
        'secret = "a"\nformat = "template"\ntemplate = "x"',
        'format = "template"\nvalues = { A = "a" }',
        'format = "template"\ntemplate = 1\nvalues = { A = "a" }',
        'format = "template"\ntemplate = "${PATH}"\nvalues = { PATH = "a" }',
        'format = "template"\ntemplate = "${A}"\nvalues = { A = "../a" }',
    ],
)
def test_a_template_goes_with_its_format_and_with_values(lines: str) -> None:
    refusal(file_table(lines))


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("[service.x]\n" + VAULT, "service", "services"),
        (VAULT + 'backnd = "age"', "backnd", "backend"),
        (VAULT + "[services.web]\nfile = {}", "file", "files"),
        (file_table('secert = "a"'), "secert", "secret"),
        (file_table('secret = "a"\nvalue = {}'), "value", "values"),
        (file_table('secret = "a"\nmodes = "0400"'), "modes", "mode"),
        (file_table('secret = "a"\nOwner = "root"'), "Owner", "owner"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_that_is_valid(text: str, key: str, nearest: str) -> None:
    error = refusal(text)
    assert f"unknown key '{key}'" in error.message
    assert error.hint == f"did you mean '{nearest}'"


def test_an_unknown_key_that_is_near_nothing_shows_what_there_may_be() -> None:
    assert refusal(VAULT + "zzzzzz = 1").hint == "it may have: format, id, backend"


@pytest.mark.parametrize("key", ["directory", "path", "command", "program", "exec", "home", "module"])
@pytest.mark.parametrize("place", [VAULT, f"{VAULT}[services.web]\n", file_table('secret = "a"')])
def test_nothing_committed_can_name_a_directory_a_program_or_code(place: str, key: str) -> None:
    assert f"unknown key '{key}'" in refusal(f'{place}{key} = "/tmp/x"\n').message


def test_no_other_table_is_allowed() -> None:
    assert "unknown key 'plugins'" in refusal(VAULT + '[plugins.age]\nprogram = "/tmp/x"').message


@pytest.mark.parametrize("name", ["..", "a/b", "/etc/passwd", ".vault.web", "-x", "a\\nb", "\\u202e", ""])
def test_no_file_or_service_leaves_its_directory(name: str) -> None:
    refusal(f'{VAULT}[services.web.files."{name}"]\nsecret = "a"')
    refusal(f'{VAULT}[services."{name}".files.key]\nsecret = "a"')


WRONG = [
    "0",
    "-1",
    "true",
    "1.5",
    "[]",
    "{}",
    '["a"]',
    '{ a = "b" }',
    "1979-05-27",
    "nan",
    '""',
    '"\\u0000"',
    '"../x"',
]
TEXTS = ["secret", "mode", "format"]


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key in TEXTS for value in WRONG if value != '""' or key == "secret"]
)
def test_a_value_of_the_wrong_kind_is_refused(key: str, value: str) -> None:
    before = "" if key == "secret" else 'secret = "a"\n'
    refusal(file_table(f"{before}{key} = {value}"))


@pytest.mark.parametrize("value", [value for value in WRONG if not value.startswith('"')])
@pytest.mark.parametrize("key", ["owner", "group"])
def test_an_owner_that_is_no_text_is_refused(key: str, value: str) -> None:
    assert f"{key} is not a text" in refusal(file_table(f'secret = "a"\n{key} = {value}')).message


@pytest.mark.parametrize("value", WRONG)
def test_a_part_of_the_vault_table_of_the_wrong_kind_is_refused(value: str) -> None:
    refusal(f'[vault]\nformat = {value}\nid = "{ID}"')
    refusal(f"[vault]\nformat = 1\nid = {value}")
    refusal(f"{VAULT}backend = {value}")
    refusal(f"vault = {value}")


@pytest.mark.parametrize("value", ["2", "1.0", "true", '"1"', "0x2"])
def test_another_format_is_refused(value: str) -> None:
    assert "format is not 1" in refusal(f'[vault]\nformat = {value}\nid = "{ID}"').message


@pytest.mark.parametrize(
    "value", ["", "0" * 31, "0" * 33, "A" * 32, "g" * 32, "../" + "0" * 29, "\u0660" * 32]
)
def test_an_id_is_32_hexadecimal_digits(value: str) -> None:
    assert "id is not 32" in refusal(f'[vault]\nformat = 1\nid = "{value}"').message


@pytest.mark.parametrize("value", [value for value in WRONG if value != "{}"])
def test_services_and_files_are_tables(value: str) -> None:
    refusal(f"services = {value}\n{VAULT}")
    refusal(f"{VAULT}[services]\nweb = {value}")
    refusal(f"{VAULT}[services.web]\nfiles = {value}")
    refusal(f"{VAULT}[services.web.files]\nkey = {value}")


def test_what_is_missing_is_named() -> None:
    assert "[vault]: is missing" in refusal("").message
    assert "format" in refusal("[vault]").message
    assert "id" in refusal("[vault]\nformat = 1").message
    assert "has neither files nor credentials" in refusal(f"{VAULT}[services.web]").message
    assert "has neither files nor credentials" in refusal(f"{VAULT}[services.web.files]").message


@pytest.mark.parametrize(
    "lines",
    [
        "",
        'format = "raw"',
        'secret = "a"\nvalues = { A = "a" }',
        'secret = "a"\nformat = "env"',
        'secret = "a"\nformat = "json"',
        'values = { A = "a" }',
        'values = { A = "a" }\nformat = "line"',
        'values = {}\nformat = "env"',
        'values = { A = 1 }\nformat = "env"',
        'values = { A = "a" }\nformat = "ENV"',
        'values = { 1A = "a" }\nformat = "env"',
        'values = { "A B" = "a" }\nformat = "json"',
        'values = { A = "../a" }\nformat = "env"',
        'secret = "a"\nformat = "other"',
    ],
)
def test_secret_goes_with_raw_and_line_and_values_with_env_and_json(lines: str) -> None:
    assert "[services.web]" in refusal(file_table(lines)).message


@pytest.mark.parametrize(
    ("text", "bits"), [("0400", 0o400), ("400", 0o400), ("0440", 0o440), ("660", 0o660), ("0600", 0o600)]
)
def test_a_mode(text: str, bits: int) -> None:
    assert services.mode(text) == bits


@pytest.mark.parametrize(
    "text",
    ["", "0", "04", "00400", "4000", "0o400", "0x100", "0404", "0444", "0666", "0777", "0500", "0410", "0200", "0000",
     "400 ", "0400\n", "u=r", "\u0660\u0664\u0660\u0660", "-400"],
)  # fmt: skip
def test_a_mode_that_opens_the_secret_or_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        services.mode(text)
    if text:
        assert "mode" in refusal(file_table(f"secret = 'a'\nmode = {json.dumps(text)}")).message


@given(st.text("0123456789", min_size=1, max_size=5))
def test_no_mode_has_a_bit_for_others_or_for_execution(text: str) -> None:
    try:
        bits = services.mode(text)
    except ConfigError:
        return
    assert not bits & ~0o660
    assert bits & 0o440


def test_broken_toml_is_told_with_its_place_and_without_its_text() -> None:
    key = made_key().decode()
    error = refusal(f'{VAULT}\n[services.web.files.key]\nsecret = "{key}\n')
    assert error.message == "vault.toml: broken TOML (at line 6, column 72)"
    assert key not in "".join(traceback.format_exception(error))
    assert refusal("[vault").message == "vault.toml: broken TOML (at end of document)"
    assert refusal(f"{key} = 1\n{key} = 2").message.startswith("vault.toml: broken TOML")


@pytest.mark.parametrize(
    "data",
    {
        "latin": b"\xff\xfe",
        "utf-16": VAULT.encode("utf-16"),
        "nul": b"\0",
        "arrays": f"a = {NESTED}".encode(),
        "tables": NESTED.encode(),
        "inline": b"a = " + b"{a=" * 50_000,
        "integer": b"[vault]\nformat = " + b"9" * 5000,
        "date": b"a = 2000-13-41",
    }.values(),
    ids=["latin", "utf-16", "nul", "arrays", "tables", "inline", "integer", "date"],
)
def test_hostile_input_is_refused_as_configuration(data: bytes) -> None:
    assert refusal(data).message.startswith("vault.toml")


LIMITED = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from tskeyvault import config, errors
try:
    config.parse(sys.stdin.buffer.read())
except errors.ConfigError:
    print("refused")
"""


@pytest.mark.parametrize("form", ["{} = 1", "[{}]", "a = {{ {} = 1 }}", "[[{}]]"])
def test_a_key_of_very_many_parts_costs_little(form: str) -> None:
    done = run_python("-c", LIMITED, input=form.format(".".join(["a"] * 100_000)).encode())
    assert (done.code, done.out) == (0, b"refused\n"), done.err[-200:]


def test_a_large_document_is_read() -> None:
    tables = "".join(f'[services.s{number}.files.key]\nsecret = "a/{number}"\n' for number in range(2000))
    assert len(parsed(VAULT + tables).services) == 2000


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([1, ID, "age", "raw", "line", "env", "json", "0400", "a/b", "age:a", "..", "root"]),
)
KEYS = st.one_of(
    st.sampled_from(
        [
            "vault",
            "services",
            "format",
            "id",
            "backend",
            "files",
            "secret",
            "values",
            "mode",
            "owner",
            "group",
            "web",
        ]
    ),
    st.text(max_size=20),
)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
        max_leaves=12,
    ),
    max_size=5,
)


def toml(value: object) -> str:
    """Write *value* as an inline TOML value; what TOML cannot say becomes an empty text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml(inner)}' for key, inner in value.items())}}}"
    return json.dumps(value) if isinstance(value, str) else '""'


@given(document=DOCUMENTS, valid=st.booleans())
@example(
    document={"vault": {"format": 1, "id": ID}, "services": {"web": {"files": {"key": {"secret": "a"}}}}},
    valid=False,
)
def test_any_document_gives_settings_or_a_configuration_error(
    document: dict[str, object], valid: bool
) -> None:
    if valid:
        document["vault"] = {"format": 1, "id": ID}
    text = "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in document.items())
    try:
        settings = parsed(text)
    except ConfigError:
        refusal(text)
        return
    for name in settings.services:
        for file in settings.service(name).files:
            assert not file.mode & ~0o660
            assert "/" not in file.name
            assert not file.name.startswith(".")


@given(st.binary(max_size=200))
def test_any_bytes_give_settings_or_a_configuration_error(data: bytes) -> None:
    refusal(data)
    refusal(VAULT.encode() + b"x = " + data)


def test_a_service_that_is_not_there_is_told_with_those_that_are() -> None:
    settings = parsed(file_table('secret = "a"'))
    with pytest.raises(NotFoundError, match="service 'wbe' is not in") as caught:
        settings.service("wbe")
    assert caught.value.hint == "it has: web"
    with pytest.raises(NotFoundError) as caught:
        parsed(VAULT).service("web")
    assert caught.value.hint == "it has: none"


# The local configuration.


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the directory of the local configuration, which is there and empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    directory = tmp_path / "config/tskeyvault"
    directory.mkdir(parents=True)
    return directory


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_no_local_configuration_says_nothing(configured: Path) -> None:
    assert local.load(os.environ) == local.Local("", commit=True, plugins={})
    assert list(configured.iterdir()) == []


def test_the_local_configuration_has_options_by_plugin(configured: Path) -> None:
    write(
        configured / "config.toml",
        'vault = "/srv/vault"\ncommit = false\n[plugins.demo]\nkey_file = "/k"\n[plugins.age]\nn = 1\n',
    )
    assert local.load(os.environ) == local.Local(
        "/srv/vault", commit=False, plugins={"demo": {"key_file": "/k"}, "age": {"n": 1}}
    )


@pytest.mark.parametrize(
    "text",
    ["vault = 1", 'commit = "no"', "commit = 0", "plugins = 1", "[plugins]\nage = 1", "[plugins.Age]\na = 1",
     '[plugins."../x"]\na = 1', "vaults = 1", "[[plugins]]", "x", "\0", "plugins = " + "[" * 100_000],
)  # fmt: skip
def test_a_wrong_local_configuration_is_refused_and_named(configured: Path, text: str) -> None:
    path = write(configured / "config.toml", text)
    with pytest.raises(ConfigError) as caught:
        local.load(os.environ)
    assert str(path) in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_configuration_that_others_can_write_is_refused(configured: Path, mode: int) -> None:
    write(configured / "config.toml", "commit = false", mode)
    with pytest.raises(ConfigError, match="can be changed by others") as caught:
        local.load(os.environ)
    assert "chmod go-w" in caught.value.hint


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o640])
def test_a_configuration_that_others_can_read_is_read(configured: Path, mode: int) -> None:
    write(configured / "config.toml", "commit = false", mode)
    assert not local.load(os.environ).commit


def test_a_configuration_of_another_user_is_refused(configured: Path) -> None:
    needs.root()
    os.chown(write(configured / "config.toml", "commit = false"), 12345, 12345)
    with pytest.raises(ConfigError, match="can be changed by others"):
        local.load(os.environ)


def test_a_configuration_that_is_no_file_is_refused_without_waiting(configured: Path) -> None:
    os.mkfifo(configured / "config.toml", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        local.load(os.environ)
    (configured / "config.toml").unlink()
    (configured / "config.toml").mkdir()
    with pytest.raises(ConfigError):
        local.load(os.environ)


def test_a_configuration_that_is_too_large_is_refused(configured: Path) -> None:
    write(configured / "config.toml", "#" * (config.MAX_SIZE + 1))
    with pytest.raises(VaultError, match="larger than"):
        local.load(os.environ)


def directories(environ: Mapping[str, str]) -> tuple[str, str]:
    return local.config_directory(environ), local.state_directory(environ)


HOME = {"HOME": "/home/u"}
XDG = {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}
UNIT = {"STATE_DIRECTORY": "/var/lib/web:/var/lib/other"}


@pytest.mark.parametrize(
    ("uid", "environ", "expected"),
    [
        (0, HOME, ("/etc/tskeyvault", "/var/lib/tskeyvault")),
        (0, {}, ("/etc/tskeyvault", "/var/lib/tskeyvault")),
        (0, HOME | XDG, ("/c/tskeyvault", "/s/tskeyvault")),
        (0, HOME | UNIT, ("/etc/tskeyvault", "/var/lib/tskeyvault")),
        (1000, HOME, ("/home/u/.config/tskeyvault", "/home/u/.local/state/tskeyvault")),
        (1000, HOME | XDG, ("/c/tskeyvault", "/s/tskeyvault")),
        (1000, HOME | UNIT, ("/home/u/.config/tskeyvault", "/var/lib/web/tskeyvault")),
        (1000, HOME | XDG | UNIT, ("/c/tskeyvault", "/s/tskeyvault")),
        (
            1000,
            HOME | {"STATE_DIRECTORY": "web"},
            ("/home/u/.config/tskeyvault", "/home/u/.local/state/tskeyvault"),
        ),
        (
            1000,
            HOME | {"XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": ""},
            ("/home/u/.config/tskeyvault", "/home/u/.local/state/tskeyvault"),
        ),
    ],
)
def test_where_configuration_and_state_lie(
    monkeypatch: pytest.MonkeyPatch, uid: int, environ: dict[str, str], expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert directories(environ) == expected


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "here"}])
def test_a_user_without_a_home_is_told_what_to_set(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError) as caught:
        local.config_directory(environ)
    assert caught.value.hint == "set XDG_CONFIG_HOME"


def test_identities_are_those_of_the_first_place_that_has_any(configured: Path, tmp_path: Path) -> None:
    paths = {name: write(tmp_path / name, "") for name in ("explicit", "variable", "tskeyvault-identity")}
    own = write(configured / "identities", "")
    environ = {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "TSKEYVAULT_IDENTITY": str(paths["variable"]),
        "CREDENTIALS_DIRECTORY": str(tmp_path),
    }
    assert local.identities(str(paths["explicit"]), environ) == (str(paths["explicit"]),)
    assert local.identities("", environ) == (str(paths["variable"]),)
    del environ["TSKEYVAULT_IDENTITY"]
    assert local.identities("", environ) == (str(paths["tskeyvault-identity"]),)
    paths["tskeyvault-identity"].unlink()
    assert local.identities("", environ) == (str(own),)
    own.unlink()
    assert local.identities("", environ) == ()


def test_an_identity_is_given_to_plugins_by_its_absolute_path(
    monkeypatch: pytest.MonkeyPatch, configured: Path
) -> None:
    write(configured / "mine", "")
    monkeypatch.chdir(configured)
    assert local.identities("mine", os.environ) == (str(configured / "mine"),)


def test_credentials_are_not_looked_for_in_the_current_directory(
    monkeypatch: pytest.MonkeyPatch, configured: Path
) -> None:
    write(configured / local.CREDENTIAL, "")
    monkeypatch.chdir(configured)
    for value in ("", "."):
        assert local.identities("", {**os.environ, "CREDENTIALS_DIRECTORY": value}) == ()


@pytest.mark.parametrize("place", ["--identity", "TSKEYVAULT_IDENTITY"])
def test_a_key_in_the_place_of_a_path_is_never_echoed(place: str) -> None:
    key = f"AGE-{'SECRET'}-KEY-1{'Q' * 58}"
    with pytest.raises(LockedError) as caught:
        local.identities(
            key if place == "--identity" else "",
            os.environ if place == "--identity" else {**os.environ, place: key},
        )
    shown = "".join(traceback.format_exception_only(caught.value)) + caught.value.hint
    assert place in shown
    assert "QQQQ" not in shown


def test_a_named_identity_that_is_a_directory_is_no_identity(tmp_path: Path) -> None:
    with pytest.raises(LockedError):
        local.identities(str(tmp_path), os.environ)
    with pytest.raises(LockedError):
        local.identities("a\0b", os.environ)


def test_reading_the_configuration_changes_nothing(configured: Path) -> None:
    path = write(configured / "config.toml", "commit = false", 0o640)
    before = path.stat()
    local.load(os.environ)
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino, stat.S_IMODE(after.st_mode)) == (
        before.st_mtime_ns,
        before.st_ino,
        0o640,
    )
