"""The plugin contract: what a plugin may answer, and that a plugin which breaks it harms nobody."""

from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.vaults import made_key
from tskeyvault import plugins, values
from tskeyvault.backend import Backend
from tskeyvault.errors import IntegrityError, LockedError, PluginError, VaultError
from tskeyvault.plugins import Plugins
from tskeyvault.spec import Options, PublicKey, Reader, Secret, Stanza, Target, hookimpl

Hook = Callable[..., object]

SECRET = Secret("a", "secrets/a.demo")
STANZA = Stanza(("demo", "argument"), b"body")
TARGET = Target(-1, "a", 0o400, 0, 0)

CALLS: dict[str, Callable[[Backend], object]] = {
    "vault_encrypt": lambda backend: backend.encrypt(SECRET, b"plain", ["r"], b"{}"),
    "vault_decrypt": lambda backend: backend.decrypt(SECRET, b"cipher"),
    "vault_binding": lambda backend: backend.binding(b"cipher"),
    "vault_materialize": lambda backend: backend.materialize(SECRET, b"plain", TARGET),
    "vault_keygen": lambda backend: backend.keygen(),
    "vault_own_recipients": lambda backend: backend.own_recipients(),
    "vault_wrap": lambda backend: backend.wrap("age1demo1r", bytes(16)),
    "vault_unwrap": lambda backend: backend.unwrap("AGE-PLUGIN-DEMO-1I", [[STANZA]]),
}
KINDS: dict[str, type] = dict.fromkeys(CALLS, bytes) | {
    "vault_materialize": str,
    "vault_own_recipients": tuple,
    "vault_wrap": Stanza,
    "vault_unwrap": dict,
}


class Nobody:
    """There is nobody to ask."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def confirm(self, question: str, yes: str, no: str) -> bool | None:
        """Answer nothing."""

    def public(self, prompt: str) -> str | None:
        """Answer nothing."""

    def secret(self, prompt: str) -> bytes | None:
        """Answer nothing."""

    def progress(self, done: int, total: int) -> None:
        """Show nothing."""


NOBODY = Nobody()
GIVEN: Options = {"identities": (), "ui": NOBODY, "credentials": "", "consents": frozenset()}
"""What every plugin gets from the core."""


def module(**hooks: Hook) -> ModuleType:
    """Return a plugin that is a module, with *hooks* that are marked."""
    made = ModuleType("made")
    for name, function in hooks.items():
        setattr(made, name, hookimpl(function))
    return made


def backend(**hooks: Hook) -> Backend:
    return Backend("demo", module(**hooks), {})


def answering(answer: object) -> Hook:
    return lambda: answer


def raising(error: BaseException) -> Hook:
    def hook() -> object:
        raise error

    return hook


def refusal(call: Callable[[], object]) -> PluginError:
    """Return how *call* fails: with an error that names the plugin."""
    with pytest.raises(PluginError) as caught:
        call()
    assert caught.value.exit_code == 6
    assert caught.value.message.startswith("plugin 'demo'")
    assert caught.value.message.isprintable()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


# Calls.


def test_a_hook_gets_what_it_asks_for_in_any_order() -> None:
    seen: list[object] = []

    def encrypt(
        options: Options, binding: bytes, recipients: object, plaintext: bytes, secret: Secret
    ) -> bytes:
        seen.extend([secret, plaintext, recipients, binding, options])
        return b"cipher"

    assert (
        Backend("demo", module(vault_encrypt=encrypt), {"a": 1}).encrypt(SECRET, b"p", ("r",), b"b")
        == b"cipher"
    )
    assert seen == [SECRET, b"p", ("r",), b"b", {"a": 1}]


def test_a_hook_may_ask_for_nothing() -> None:
    answers: dict[str, object] = dict.fromkeys(CALLS, b"x") | {
        "vault_materialize": "x",
        "vault_own_recipients": ("x",),
        "vault_wrap": STANZA,
        "vault_unwrap": {0: bytes(16)},
    }
    for hook, answer in answers.items():
        result = CALLS[hook](backend(**{hook: answering(answer)}))
        assert result == (["x"] if hook == "vault_own_recipients" else answer)


def test_a_class_is_made_with_its_options_once_and_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[object] = []

    class Demo:
        def __init__(self, options: Options):
            happened.append(options)

        @hookimpl
        def vault_keygen(self) -> bytes:
            happened.append("keygen")
            return b"x"

        def close(self) -> None:
            happened.append("close")

    monkeypatch.setattr(plugins, "_find", lambda _name: Demo)
    loaded = Plugins({"demo": {"a": 1}, "other": {"b": 2}}, ("/identities",), NOBODY)
    assert happened == []
    assert loaded.get("demo") is loaded.get("demo")
    assert loaded.get("demo").keygen() == b"x"
    loaded.close()
    loaded.close()
    assert happened == [{"a": 1, **GIVEN, "identities": ("/identities",)}, "keygen", "close"]


def test_options_cannot_name_what_comes_from_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []

    def keygen(options: Options) -> bytes:
        seen.append(options)
        return b"x"

    monkeypatch.setattr(plugins, "_find", lambda _name: module(vault_keygen=keygen))
    mine: Options = {"identities": "/mine", "ui": "mine", "credentials": "mine", "consents": "mine"}
    Plugins({"demo": mine}, ("/identities",), NOBODY, "/credentials").get("demo").keygen()
    Plugins({}, (), NOBODY).get("demo").keygen()
    assert seen == [
        {**GIVEN, "identities": ("/identities",), "credentials": "/credentials"},
        GIVEN,
    ]


def test_only_age_can_ask_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[str]] = {}

    def found(name: str) -> ModuleType:
        def keygen(options: Options) -> bytes:
            seen[name] = set(options)
            return b"x"

        return module(vault_keygen=keygen)

    monkeypatch.setattr(plugins, "_find", found)
    given = Plugins({}, (), NOBODY)
    for name in ("age", "demo"):
        given.get(name).keygen()
    assert seen == {"age": {*GIVEN, "key_plugin"}, "demo": set(GIVEN)}
    assert set(GIVEN) == values.GIVEN


def test_all_plugins_are_closed_also_when_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    def found(name: str) -> ModuleType:
        made = module(vault_keygen=lambda: b"x")

        def close() -> None:
            closed.append(name)
            if name == "two":
                raise RuntimeError

        vars(made)["close"] = close
        return made

    monkeypatch.setattr(plugins, "_find", found)
    loaded = Plugins({}, (), NOBODY)
    for name in ("one", "two", "three"):
        loaded.get(name)
    with pytest.raises(PluginError, match="plugin 'two': close failed with RuntimeError"):
        loaded.close()
    assert sorted(closed) == ["one", "three", "two"]


# What breaks the contract.


@pytest.mark.parametrize(
    "hook", [hook for hook in CALLS if hook not in {"vault_binding", "vault_materialize"}]
)
def test_a_missing_hook_is_named(hook: str) -> None:
    other = "vault_keygen" if hook != "vault_keygen" else "vault_decrypt"
    error = refusal(lambda: CALLS[hook](backend(**{other: lambda: b"x"})))
    assert error.message == f"plugin 'demo' does not implement {hook}"


def test_a_hook_that_is_not_marked_is_missing() -> None:
    made = ModuleType("made")
    vars(made)["vault_keygen"] = lambda: b"x"
    assert "does not implement" in refusal(lambda: Backend("demo", made, {}).keygen()).message


def test_a_plugin_without_preparation_is_not_asked_for_it() -> None:
    backend(vault_keygen=lambda: b"x").prepare([b"cipher"])


@pytest.mark.parametrize("answer", [None, "yes", 1, b"x"])
def test_a_preparation_answers_true(answer: object) -> None:
    asked: list[object] = []

    def prepare(ciphertexts: list[bytes]) -> bool:
        asked.append(ciphertexts)
        return True

    backend(vault_prepare=prepare).prepare([b"one", b"two"])
    assert asked == [[b"one", b"two"]]
    error = refusal(lambda: backend(vault_prepare=answering(answer)).prepare([b"cipher"]))
    assert error.message == f"plugin 'demo': vault_prepare returned {type(answer).__name__}, not bool"


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_a_preparation_that_fails_is_told_by_its_kind(kind: type[BaseException]) -> None:
    error = refusal(lambda: backend(vault_prepare=raising(kind("text"))).prepare([b"cipher"]))
    assert error.message == f"plugin 'demo': vault_prepare failed with {kind.__name__}"


def test_a_plugin_without_bindings_has_none() -> None:
    assert backend(vault_keygen=lambda: b"x").binding(b"cipher") == b""


@pytest.mark.parametrize("hook", CALLS)
@pytest.mark.parametrize(
    "answer",
    [None, "text", b"bytes", bytearray(b"x"), memoryview(b"x"), 1, 1.5, True, [], ["x"], (), {}, object],
)
def test_an_answer_of_another_kind_is_refused(hook: str, answer: object) -> None:
    if isinstance(answer, KINDS[hook]) or (answer is None and hook == "vault_materialize"):
        return  # a plugin that does not write itself leaves it to the core
    message = refusal(lambda: CALLS[hook](backend(**{hook: answering(answer)}))).message
    assert message == f"plugin 'demo': {hook} returned {type(answer).__name__}, not {KINDS[hook].__name__}"


@pytest.mark.parametrize("answer", [(b"age1a",), ("age1a", None), (1,), (("age1a",),)])
def test_recipients_that_are_no_texts_are_refused(answer: tuple[object, ...]) -> None:
    refusal(lambda: backend(vault_own_recipients=lambda: answer).own_recipients())


@pytest.mark.parametrize("hook", ["vault_encrpyt", "vault_", "vault_trace", "__init__"])
def test_a_misspelt_hook_is_named(hook: str) -> None:
    assert f"there is no hook '{hook}'" in refusal(lambda: backend(**{hook: lambda: b"x"})).message


@pytest.mark.parametrize(
    "marks", [{"specname": "vault_encrpyt"}, {"optionalhook": True}, {"specname": "__class__"}]
)
def test_a_hook_that_there_is_not_is_refused_by_whatever_name(marks: dict[str, object]) -> None:
    made = ModuleType("made")
    vars(made)["vault_encrpyt"] = hookimpl(**marks)(lambda: b"x")  # type: ignore[call-overload]
    refusal(lambda: Backend("demo", made, {}))


@pytest.mark.parametrize("argument", ["plain_text", "self", "key", "recipients"])
def test_a_misspelt_argument_is_named(argument: str) -> None:
    code = f"lambda {argument}: b''"
    function = eval(code)  # noqa: S307 - a function whose argument has this name
    error = refusal(lambda: backend(vault_decrypt=function))
    assert f"vault_decrypt asks for '{argument}'" in error.message or argument == "self"


@pytest.mark.parametrize("marks", [{"wrapper": True}, {"hookwrapper": True}])
@pytest.mark.parametrize("hook", CALLS)
def test_a_wrapper_is_refused(hook: str, marks: dict[str, bool]) -> None:
    def wrapper() -> object:
        yield

    made = ModuleType("made")
    vars(made)[hook] = hookimpl(**marks)(wrapper)  # type: ignore[call-overload]
    assert refusal(lambda: Backend("demo", made, {})).message == (
        f"plugin 'demo': {hook} is a wrapper, which the contract does not have"
    )
    vars(made)["elsewhere"] = hookimpl(**marks, specname=hook)(wrapper)  # type: ignore[call-overload]
    del vars(made)[hook]
    assert "is a wrapper" in refusal(lambda: Backend("demo", made, {})).message


@pytest.mark.parametrize("size", [1, 8, 15, 16, 17, 100])
def test_a_plaintext_that_comes_back_as_ciphertext_is_refused(size: int) -> None:
    plaintext = bytes(range(100, 100 + size))
    error = refusal(
        lambda: backend(vault_encrypt=lambda plaintext: plaintext).encrypt(SECRET, plaintext, ["r"], b"")
    )
    assert error.message == "plugin 'demo': vault_encrypt returned the plaintext"


@given(st.binary(min_size=16, max_size=40), st.binary(max_size=10), st.binary(max_size=10))
def test_a_plaintext_anywhere_in_the_ciphertext_is_refused(
    plaintext: bytes, before: bytes, after: bytes
) -> None:
    made = backend(vault_encrypt=lambda plaintext: before + plaintext + after)
    refusal(lambda: made.encrypt(SECRET, plaintext, ["r"], b""))


def test_a_probe_of_nothing_may_look_like_anything() -> None:
    assert backend(vault_encrypt=lambda: b"").encrypt(SECRET, b"", ["r"], b"") == b""


# Failures.


@pytest.mark.parametrize("hook", CALLS)
@pytest.mark.parametrize(
    "kind",
    [
        RuntimeError,
        SystemExit,
        GeneratorExit,
        AssertionError,
        OSError,
        BaseException,
        RecursionError,
        StopIteration,
    ],
)
def test_a_failure_is_told_by_its_kind_and_never_by_its_text(hook: str, kind: type[BaseException]) -> None:
    key = made_key().decode()
    error = refusal(lambda: CALLS[hook](backend(**{hook: raising(kind(key))})))
    assert error.message.startswith(f"plugin 'demo': {hook} failed with ")
    assert key not in error.message + error.hint


@pytest.mark.parametrize(
    "error", [LockedError("locked"), IntegrityError("damaged", "look"), PluginError("device")]
)
def test_an_explained_failure_passes(error: VaultError) -> None:
    with pytest.raises(type(error)) as caught:
        backend(vault_decrypt=raising(error)).decrypt(SECRET, b"x")
    assert caught.value is error


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        backend(vault_keygen=raising(KeyboardInterrupt())).keygen()


def test_an_explained_failure_that_explains_nothing_is_the_plugins() -> None:
    class BareError(VaultError):
        def __init__(self) -> None:
            """Leave out message and hint."""

    class SuccessError(VaultError):
        exit_code = 0

    class BytesError(VaultError):
        def __init__(self) -> None:
            self.message = b"x"  # type: ignore[assignment]
            self.hint = None  # type: ignore[assignment]

    for error in (BareError(), SuccessError("done"), BytesError()):
        refusal(backend(vault_keygen=raising(error)).keygen)


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, AttributeError, ImportError])
def test_a_failure_while_loading_is_the_plugins(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    class Making:
        def __init__(self, _options: Options):
            raise kind("text")

    for find in (lambda _name: Making, lambda name: raising(kind(name))()):
        monkeypatch.setattr(plugins, "_find", find)
        error = refusal(lambda: Plugins({}, (), NOBODY).get("demo"))
        assert error.message == f"plugin 'demo': loading failed with {kind.__name__}"


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit])
def test_a_plugin_that_fails_when_it_is_looked_at_is_refused(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    class Looked:
        def __init__(self, _options: Options):
            pass

        @property
        def vault_keygen(self) -> object:
            raise kind("text")

    class Listed:
        def __init__(self, _options: Options):
            pass

        def __dir__(self) -> list[str]:
            raise kind("text")

    for plugin in (Looked, Listed):
        monkeypatch.setattr(plugins, "_find", lambda _name, plugin=plugin: plugin)
        refusal(lambda: Plugins({}, (), NOBODY).get("demo"))


@pytest.mark.parametrize("plugin", [None, 1, "text", object()])
def test_an_entry_point_that_is_no_plugin_implements_nothing(
    monkeypatch: pytest.MonkeyPatch, plugin: object
) -> None:
    monkeypatch.setattr(plugins, "_find", lambda _name: plugin)
    refusal(lambda: Plugins({}, (), NOBODY).get("demo").keygen())


@pytest.mark.parametrize("name", ["core", "age", "self"])
def test_a_plugin_may_have_any_name(name: str) -> None:
    assert Backend(name, module(vault_keygen=lambda: b"x"), {}).keygen() == b"x"
    with pytest.raises(PluginError, match=f"plugin '{name}' does not implement vault_decrypt"):
        Backend(name, module(vault_keygen=lambda: b"x"), {}).decrypt(SECRET, b"x")


# Which plugins there are.


def test_a_plugin_that_is_not_installed_is_told() -> None:
    with pytest.raises(PluginError, match="plugin 'no-such-plugin' is not installed") as caught:
        Plugins({}, (), NOBODY).get("no-such-plugin")
    assert caught.value.hint == "vault plugins lists those that are"
    assert not plugins.is_installed("no-such-plugin")


@pytest.mark.parametrize("name", ["", "../age", "Age", "a b", "age\n", "\ud800"])
def test_what_is_no_name_is_not_installed(name: str) -> None:
    assert not plugins.is_installed(name)
    with pytest.raises(VaultError):
        Plugins({}, (), NOBODY).get(name)


def test_built_in_plugins_are_there_without_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_entry_points", raising(AssertionError("it looked")))
    for name in plugins.BUILT_IN:
        assert plugins.is_installed(name)
        assert Plugins({}, (), NOBODY).get(name).name == name


def test_a_manager_holds_the_core_and_one_plugin() -> None:
    one, two = backend(vault_keygen=lambda: b"1"), backend(vault_keygen=lambda: b"2")
    assert one._manager is not two._manager
    for made in (one, two):
        assert len(made._manager.get_plugins()) == 2
        assert made.implementation in made._manager.get_plugins()
    assert (one.keygen(), two.keygen()) == (b"1", b"2")


# Plugins whose recipients are names of keys.


@pytest.mark.parametrize(
    "result",
    [
        [],
        [(Reader("a"),)],
        [(Reader("a"),), ()],
        [(Reader("a"),), (Reader("b\n"),)],
        [(Reader("a"),), ("b",)],
        (),
    ],
    ids=range(6),
)
def test_vault_resolve_says_of_each_line_whom_it_means(result: object) -> None:
    backend = Backend("demo", module(vault_resolve=lambda: result), {})
    with pytest.raises(PluginError, match="vault_resolve returned"):
        backend.resolve(["one", "two"], {})


def test_without_vault_resolve_a_recipient_is_what_is_written() -> None:
    assert Backend("demo", module(), {}).resolve(["one"], {}) == [(Reader("one"),)]


@pytest.mark.parametrize("file", ["../x", "a/b", "", ".", "..", "-x", "x\n"])
def test_a_public_key_file_has_a_plain_name(file: str) -> None:
    def key() -> PublicKey:
        return PublicKey("r", "n", file, b"x")

    with pytest.raises(VaultError):
        Backend("demo", module(vault_public_key=key), {}).public_key("r", {})


def test_what_vault_check_finds_are_findings() -> None:
    assert Backend("demo", module(), {}).check({}) == []
    with pytest.raises(PluginError, match="vault_check returned"):
        Backend("demo", module(vault_check=lambda: ("x",)), {}).check({})


@pytest.mark.parametrize(("said", "workers"), [(4, 4), (0, 1), (-3, 1)])
def test_a_plugin_says_how_much_may_run_at_once(said: int, workers: int) -> None:
    assert Backend("demo", module(vault_workers=lambda: said), {}).workers() == workers
    assert Backend("demo", module(), {}).workers() == 1
