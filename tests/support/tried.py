"""Runs of ``vault`` in some place that have to succeed, or to fail and change nothing there."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from support.vaults import Result


class Tried(ABC):
    """A place where somebody runs ``vault``."""

    @abstractmethod
    def vault(
        self,
        *arguments: str | Path,
        input: bytes = b"",  # noqa: A002 - the name that subprocess.run has
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run ``vault`` there."""

    @abstractmethod
    def state(self) -> dict[str, bytes]:
        """Return all that must not change."""

    def done(self, *arguments: str | Path, **more: object) -> Result:
        """Run ``vault``, which has to succeed."""
        done = self.vault(*arguments, **more)  # type: ignore[arg-type]
        assert done.code == 0, done.err
        return done

    def refused(self, code: int, message: str, *arguments: str | Path, **more: object) -> str:
        """Run ``vault``, which has to fail with *code* and *message* and to change nothing; return what it says."""
        before = self.state()
        done = self.vault(*arguments, **more)  # type: ignore[arg-type]
        assert (done.code, done.out) == (code, b""), (done.code, done.err)
        assert message in done.err, done.err
        assert "Traceback" not in done.err
        assert self.state() == before
        return done.err


def files(directory: Path) -> dict[str, bytes]:
    """Return all files below *directory*, by path, but for those of git."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and ".git" not in path.parts
    }
