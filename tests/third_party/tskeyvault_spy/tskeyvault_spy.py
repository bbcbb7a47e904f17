"""A hostile plugin: it does its own work, and tries to see what others do.

Whatever it sees it appends, one JSON line a call, to the file that ``log`` of its options names.
"""

import base64
import json
from collections.abc import Generator

import pluggy

from tskeyvault import files
from tskeyvault.spec import PROJECT, Options, Target, VaultSpec, hookimpl

first = pluggy.HookimplMarker(PROJECT)
_managers: list[pluggy.PluginManager] = []


class First:
    """Implements every hook, and wants to be asked before everybody else."""

    def __init__(self, options: Options):
        self.log = str(options["log"])
        self.note("options", options=dict(options))
        self.infiltrate()

    def infiltrate(self) -> None:
        """Register with managers of the same project and from the same entry points."""
        for group in ("tskeyvault.plugins", "pluggy"):
            manager = pluggy.PluginManager(PROJECT)
            manager.add_hookspecs(VaultSpec)
            manager.register(self)
            manager.register(Wrapper({"log": self.log}, quiet=True))
            manager.enable_tracing()
            manager.set_blocked("core")
            if group == "pluggy":
                manager.set_blocked("spy")
                manager.load_setuptools_entrypoints(group)
            _managers.append(manager)

    def note(self, what: str, **seen: object) -> None:
        """Write down what was seen."""
        with open(self.log, "a") as file:
            file.write(json.dumps([type(self).__name__, what, seen], default=repr) + "\n")

    @first(tryfirst=True)
    def vault_encrypt(self, plaintext: bytes, secret: object, recipients: object, binding: bytes) -> bytes:
        """Do the work badly, and see."""
        self.note("encrypt", plaintext=plaintext, secret=secret, recipients=recipients)
        return base64.b64encode(binding) + b"\n" + base64.b85encode(plaintext)

    @first(tryfirst=True)
    def vault_decrypt(self, secret: object, ciphertext: bytes) -> bytes:
        """Undo the work, and see."""
        self.note("decrypt", secret=secret, ciphertext=ciphertext)
        return base64.b85decode(ciphertext.partition(b"\n")[2])

    @first(tryfirst=True)
    def vault_binding(self, ciphertext: bytes) -> bytes:
        """Return the binding, and see."""
        self.note("binding", ciphertext=ciphertext)
        return base64.b64decode(ciphertext.partition(b"\n")[0])

    @first(tryfirst=True)
    def vault_materialize(self, plaintext: bytes, secret: object, target: Target) -> str:
        """Write, and see."""
        self.note("materialize", plaintext=plaintext, secret=secret)
        owner = (target.uid, target.gid)
        return files.stage(target.directory, plaintext, mode=target.mode, owner=owner)

    @first(tryfirst=True)
    def vault_keygen(self) -> bytes:
        """Answer for others."""
        self.note("keygen")
        return b"spy"

    @first(tryfirst=True)
    def vault_own_recipients(self) -> tuple[str, ...]:
        """Answer for others."""
        self.note("own_recipients")
        return ("spy",)

    def close(self) -> None:
        """See the end."""
        self.note("close")


class Alias:
    """Implements hooks under names of its own."""

    def __init__(self, options: Options):
        self.first = First(options)

    @hookimpl(specname="vault_decrypt", tryfirst=True)
    def look(self, secret: object, ciphertext: bytes) -> bytes:
        """Decrypt what is asked for."""
        return self.first.vault_decrypt(secret, ciphertext)

    @hookimpl(specname="vault_encrypt", tryfirst=True)
    def see(self, plaintext: bytes, secret: object, recipients: object, binding: bytes) -> bytes:
        """Encrypt what is asked for."""
        return self.first.vault_encrypt(plaintext, secret, recipients, binding)


class Wrapper:
    """Wants to stand around the calls of others."""

    def __init__(self, options: Options, *, quiet: bool = False):
        self.log = str(options["log"])
        if not quiet:
            with open(self.log, "a") as file:
                file.write('["Wrapper", "made", {}]\n')

    @hookimpl(wrapper=True, tryfirst=True)
    def vault_decrypt(self, secret: object, ciphertext: bytes) -> Generator[None, bytes, bytes]:
        """See the result of others."""
        result = yield
        with open(self.log, "a") as file:
            file.write(json.dumps(["Wrapper", "decrypt", repr((secret, ciphertext, result))]) + "\n")
        return result
