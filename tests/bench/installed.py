"""The project as a user has it: a wheel in an environment of the system's Python, byte-compiled."""

from pathlib import Path

from support import needs, uv


def install(folder: Path) -> Path:
    """Build and install into *folder*; return where its programs lie, ``python`` and ``vault``."""
    uv.run("build", "--wheel", "--out-dir", folder)
    uv.run("venv", "--relocatable", "--python", needs.SYSTEM_PYTHON, folder / "installed")
    programs = folder / "installed/bin"
    uv.run(
        "pip", "install", "--python", programs / "python", "--compile-bytecode", next(folder.glob("*.whl"))
    )
    return programs
