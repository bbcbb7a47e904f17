"""Credentials: what ``vault.toml`` may say of them, whose a process is, and workers that fail."""

import base64
import os
import select
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from tskeyvault import config
from tskeyvault.credentials import activation, envelope, peer, server, table, worker
from tskeyvault.credentials.activation import Listener
from tskeyvault.credentials.server import Server
from tskeyvault.credentials.worker import Answer, Worker
from tskeyvault.errors import ConfigError, DeliveryError, NotFoundError, UsageError
from tskeyvault.names import Reference

VAULT = f'[vault]\nformat = 1\nid = "{"0123456789abcdef" * 2}"\n'
SERVICES = """
[services.web]
credentials = { key = "a/key", "other.key" = "pass:a/other" }
[services.instances]
units = ["many@.service", "web.service"]
credentials = { key = "a/key", more = "a/more" }
"""
KEY, OTHER, MORE = Reference("", "a/key"), Reference("pass", "a/other"), Reference("", "a/more")


def of_unit(unit: str, services: str = SERVICES) -> Mapping[str, Reference]:
    return table.of_unit(unit, config.parse((VAULT + services).encode()))


def test_a_unit_may_have_what_its_services_give_it() -> None:
    assert of_unit("web.service") == {"key": KEY, "other.key": OTHER, "more": MORE}
    for unit in ("many@.service", "many@one.service", "many@a@b.service"):
        assert of_unit(unit) == {"key": KEY, "more": MORE}


@pytest.mark.parametrize(
    "unit", ["other.service", "many.service", "web@one.service", "instances.service", "web"]
)
def test_no_other_unit_may_have_any(unit: str) -> None:
    with pytest.raises(NotFoundError, match="no credentials"):
        of_unit(unit)


def test_one_id_for_two_secrets_is_refused() -> None:
    twice = '[services.again]\nunits = ["web.service"]\ncredentials = { key = "b/key" }\n'
    with pytest.raises(ConfigError, match="different secrets as credential 'key'"):
        of_unit("web.service", SERVICES + twice)
    assert of_unit("many@x.service", SERVICES + twice)


@pytest.mark.parametrize(
    "lines",
    [
        "credentials = 1",
        'credentials = ["a"]',
        "credentials = {}",
        "credentials = { key = 1 }",
        'credentials = { key = "../a" }',
        'credentials = { "a/b" = "a" }',
        'credentials = { "a:b" = "a" }',
        'credentials = { ".a" = "a" }',
        'credentials = { "" = "a" }',
        f'credentials = {{ {"k" * 81} = "a" }}',
        "credentials = { " + ", ".join(f"k{number} = 'a'" for number in range(101)) + " }",
        'units = []\ncredentials = { key = "a" }',
        'units = "web.service"\ncredentials = { key = "a" }',
        'units = ["web.socket"]\ncredentials = { key = "a" }',
        'units = ["a/b.service"]\ncredentials = { key = "a" }',
        'units = [1]\ncredentials = { key = "a" }',
        f'units = ["{"u" * 248}.service"]\ncredentials = {{ key = "a" }}',
    ],
)
def test_what_is_not_as_documented_is_refused(lines: str) -> None:
    with pytest.raises(ConfigError):
        config.parse(f"{VAULT}[services.web]\n{lines}\n".encode())


@pytest.mark.parametrize(
    ("groups", "unit", "group"),
    [
        ("0::/system.slice/web.service\n", "web.service", "/system.slice/web.service"),
        ("1:cpu:/other.service\n0::/a.slice/a-b.slice/x@y.service/sub/group\n", "x@y.service", "/a.slice/a-b.slice/x@y.service"),
        ("0::/system.slice/__memory.service\n", "_memory.service", "/system.slice/__memory.service"),
        ("0::/user.slice/user-1.slice/user@1.service/web.service\n", "user@1.service", "/user.slice/user-1.slice/user@1.service"),
        ("0::/init.scope\n", "init.scope", "/init.scope"),
        ("0::/\n", "", ""),
        ("0::/system.slice\n", "", ""),
        ("0::/../web.service\n", "..", "/.."),
        ("1:name=systemd:/system.slice/web.service\n", "", ""),
        ("", "", ""),
    ],
)  # fmt: skip
def test_the_unit_of_a_process_is_the_first_below_the_slices(groups: str, unit: str, group: str) -> None:
    assert peer.unit_of(groups) == (unit, group)


@pytest.mark.parametrize(
    "address",
    [b"", b"\0", b"\0a/unit/web.service", b"\0a/unit/web.service/key/more", b"\0/unit/web.service/key",
     b"\0a/unit/web.socket/key", b"\0a/unit/web.service/k\xffy", b"\0a/user/web.service/key"],
)  # fmt: skip
def test_an_address_that_is_not_systemds_is_refused(address: bytes) -> None:
    ours, theirs = connected(address)
    with ours, theirs, pytest.raises(DeliveryError):
        peer.identify(theirs)


def connected(address: bytes) -> tuple[socket.socket, socket.socket]:
    """Return a connection from *address*, and its other end."""
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if len(address) > 1:
        ours.bind(address[:1] + b"%x" % os.getpid() + address[2:] if address[1:2] == b"a" else address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind("")
        listener.listen()
        ours.connect(listener.getsockname())
        return ours, listener.accept()[0]


# Workers.


def answer(hired: Worker, unit: str = "web.service") -> Answer:
    hired.begin(unit, encrypted=False)
    while True:
        assert select.select([hired], [], [], 30)[0]
        if (heard := hired.hear()) is not None:
            return heard


def failing(unit: str, _encrypted: bool) -> NoReturn:
    if unit == "known.service":
        raise DeliveryError("it cannot be", "do that")
    raise ValueError("a foreign text")


def waiting(_unit: str, _encrypted: bool) -> NoReturn:
    while True:
        time.sleep(60)


@pytest.fixture
def hired(request: pytest.FixtureRequest) -> Iterator[Worker]:
    found = Worker(request.param, 0.2)
    yield found
    found.stop()


@pytest.mark.parametrize(
    "hired", [lambda unit, _: {"a": b"\0\n" * 300_000, "b": unit.encode()}], indirect=True, ids=["gives"]
)
def test_a_worker_answers_one_unit_after_the_other(hired: Worker) -> None:
    for unit in ("one.service", "two.service"):
        assert answer(hired, unit) == Answer({"a": b"\0\n" * 300_000, "b": unit.encode()}, "")


@pytest.mark.parametrize("hired", [failing], indirect=True)
def test_a_worker_that_fails_says_why_without_the_text_of_a_stranger(hired: Worker) -> None:
    assert answer(hired, "known.service") == Answer({}, "it cannot be (hint: do that)")
    assert answer(hired, "other.service") == Answer({}, "unexpected ValueError: this is a defect")


@pytest.mark.parametrize("hired", [waiting], indirect=True)
def test_a_worker_that_takes_too_long_gives_up(hired: Worker) -> None:
    assert "not done within 0.2 s" in answer(hired).reason


@pytest.mark.parametrize(
    "hired", [lambda _unit, _: os.kill(os.getpid(), signal.SIGKILL)], indirect=True, ids=["killed"]
)
def test_a_worker_that_is_killed_is_noticed(hired: Worker) -> None:
    assert answer(hired) == worker.KILLED


# Envelopes; that systemd opens them is shown under systemd.


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """Return the path of a key of a host, as systemd keeps it."""
    path = tmp_path / "credential.secret"
    path.write_bytes(os.urandom(16 + 4096))
    return str(path)


def test_an_envelope_shows_nothing_and_none_is_like_another(secret: str) -> None:
    values = {"key": b"a value", "again": b"a value"}
    found = [text for _ in range(2) for text in envelope.sealed(values, secret).values()]
    assert len(set(found)) == len(found)
    assert not any(b"a value" in base64.b64decode(text) for text in found)


def test_a_value_that_no_systemd_would_take_is_named_and_refused(secret: str) -> None:
    assert envelope.sealed({"key": bytes(860_000)}, secret)
    with pytest.raises(DeliveryError, match="credential 'key' is too large"):
        envelope.sealed({"small": b"a", "key": bytes(900_000)}, secret)


def test_without_a_key_of_the_host_nothing_is_given(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").write_bytes(bytes(16))
    for path in (empty, tmp_path / "nosuch"):
        with pytest.raises(DeliveryError) as caught:
            envelope.sealed({"key": b"a value"}, str(path))
        assert "systemd-creds setup" in caught.value.hint


# The server, as far as it needs no systemd.


def test_a_server_that_nobody_asks_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "KEEP", 0.0)
    monkeypatch.setattr(server, "_MOMENT", 0.01)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")
            listener.listen()
            Server(
                [Listener(listener, encrypted=False)],
                lambda: Worker(failing, 1),
                lambda _fd: None,
                lambda _text: None,
            ).run([])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_server_that_is_told_to_stop_leaves_whoever_comes_then_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_READING", 0.2)
    monkeypatch.setattr(server, "_MOMENT", 0.01)
    before = signal.getsignal(signal.SIGTERM)
    said: list[str] = []
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as one_that_does_not_read,
        socket.socket(socket.AF_UNIX) as late,
    ):
        listener.bind("")
        listener.listen()
        one_that_does_not_read.connect(listener.getsockname())

        def say(text: str) -> None:
            said.append(text)
            if len(said) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
                late.connect(listener.getsockname())

        try:
            Server(
                [Listener(listener, encrypted=False)], lambda: Worker(failing, 1), lambda _fd: None, say
            ).run([])
        finally:
            signal.signal(signal.SIGTERM, before)
        listener.setblocking(False)
        listener.accept()[0].close()
    assert len(said) == 1


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": "OURS"},
    ],
)
def test_without_systemd_it_says_how_it_is_started(environ: dict[str, str]) -> None:
    environ = {key: value.replace("OURS", str(os.getpid())) for key, value in environ.items()}
    with pytest.raises(UsageError) as caught:
        activation.given(environ)
    assert "tskeyvault-credentials.socket" in caught.value.hint


def test_without_a_place_for_connections_it_does_not_serve() -> None:
    with pytest.raises(UsageError) as caught:
        activation.Keeper({})
    assert "FileDescriptorStoreMax" in caught.value.hint
