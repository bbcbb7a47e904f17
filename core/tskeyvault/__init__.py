"""A Git-friendly secret vault: the core that plugins and commands build on.

Plugin authors need two modules: :mod:`tskeyvault.spec` (the hooks) and :mod:`tskeyvault.errors`
(how to fail). Nothing is imported here, so that a command pays only for what it uses.
"""

__version__ = "0.1.0"
