"""For all tests: an environment of their own, and one line at the end that names those that could not run."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

# Read before any test runs: the tests' own environment has none of our variables.
REQUIRE_ALL = os.environ.get("TSKEYVAULT_REQUIRE_ALL") == "1"

# Whoever starts the tests in the background ignores these, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)

COULD_NOT_RUN = "could not run here"

FOREIGN_PREFIXES = ("TSKEYVAULT_", "GIT_", "PASSWORD_STORE_", "XDG_")
FOREIGN = (
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "EDITOR",
    "GNUPGHOME",
    "GPG_AGENT_INFO",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LOGS_DIRECTORY",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "SSH_AUTH_SOCK",
    "STATE_DIRECTORY",
    "VISUAL",
)
GIT_CONFIG = """\
[user]
\tname = Test User
\temail = test@example.org
[init]
\tdefaultBranch = main
[commit]
\tgpgSign = false
"""


@pytest.fixture(autouse=True)
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test an own home and an own git, and nothing that the caller or a service manager set."""
    for name in os.environ:
        if name in FOREIGN or name.startswith(FOREIGN_PREFIXES):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    directories = {
        "HOME": home,
        "XDG_CONFIG_HOME": home / ".config",
        "XDG_STATE_HOME": home / ".local/state",
        "XDG_RUNTIME_DIR": home / "run",
    }
    for name, directory in directories.items():
        directory.mkdir(parents=True, mode=0o700)
        monkeypatch.setenv(name, str(directory))
    (home / ".gitconfig").write_text(GIT_CONFIG)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{COULD_NOT_RUN}: {_reason(report)}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    return reason.removeprefix("Skipped: ").removeprefix(f"{COULD_NOT_RUN}: ")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skipped test fail where all must run."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make a skipped module fail where all must run."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Name in one line, the last but pytest's own, every test that could not run here, whichever process ran it."""
    yield
    stats = terminalreporter.stats
    missing = [
        f"{report.nodeid} ({_reason(report)})"
        for report in (*stats.get("skipped", ()), *stats.get("failed", ()), *stats.get("error", ()))
        if report.skipped or str(report.longrepr).startswith(COULD_NOT_RUN)
    ]
    terminalreporter.write_line(f"{COULD_NOT_RUN}: {', '.join(missing) or 'none'}")
