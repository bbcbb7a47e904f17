"""The certificate of a slot: which key is in there, what it asks of its user, and which recipient it is.

As age-plugin-yubikey writes and reads it (src/builder.rs, src/util.rs), so that a key that either of
the two made works with the other.
"""

import datetime as dt
import os
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.x509.oid import NameOID

from tskeyvault.errors import LockedError
from tskeyvault_age import mlkem, tag
from tskeyvault_yubikey.recipient import YubikeyRecipient

if TYPE_CHECKING:
    from tskeyvault_age.tag import TagPQRecipient, TagRecipient

PIN_POLICIES = {1: "never", 2: "once", 3: "always"}
TOUCH_POLICIES = {1: "never", 2: "always", 3: "cached"}
UNKNOWN = "unknown"

POLICIES = x509.ObjectIdentifier("1.3.6.1.4.1.41482.3.8")
"""Yubico's extension for the policies of a key: a byte for the PIN, one for touch."""
SEED = x509.ObjectIdentifier("1.3.6.1.4.1.64829.1.1")
"""The extension for the seed of the ML-KEM half of a post-quantum key; it is critical."""
SEED_LENGTH = 64
_OCTETS = bytes([0x04, SEED_LENGTH])

ORGANIZATION = "age-plugin-yubikey"
_CLASSIC_UNIT, _TAGGED_UNIT = "0.5.1", "0.6.0"
"""The version says which recipient the key is known by: from 0.6 on it is one of the tagged kind."""
_NEVER_ENDS = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


class Policies(NamedTuple):
    """What a key asks for when it is used, by the names above."""

    pin: str = UNKNOWN
    touch: str = UNKNOWN


class SlotKey(NamedTuple):
    """A key in a slot, by its certificate."""

    public: EllipticCurvePublicKey
    policies: Policies
    seed: bytes
    """For ML-KEM, 64 bytes; empty for a key that is not post-quantum."""
    name: str
    created: dt.datetime
    tagged: bool
    """It is known by a recipient of the tagged kind, not by ``age1yubikey1...``."""

    @property
    def tag(self) -> bytes:
        """The 4 bytes by which identities know the key."""
        return tag.key_tag((tag.uncompressed if self.seed else tag.compressed)(self.public))

    @property
    def recipient(self) -> "YubikeyRecipient | TagRecipient | TagPQRecipient":
        """The recipient that the key is known by."""
        if self.seed:
            return tag.TagPQRecipient(mlkem.public_key(self.seed) + tag.uncompressed(self.public))
        return tag.TagRecipient(self.public) if self.tagged else YubikeyRecipient(self.public)


def read(certificate: x509.Certificate) -> SlotKey:
    """Return the key that *certificate* is about.

    Raises LockedError when it is no key for age, also when the certificate demands something that
    is not known here: it may change how the key is to be used.
    """
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise LockedError("holds no P-256 key")
    extensions = list(certificate.extensions)
    if any(it.critical and it.oid not in {POLICIES, SEED} for it in extensions):
        raise LockedError("holds a key whose certificate demands something that is not known here")
    policies = [_raw(it) for it in extensions if it.oid == POLICIES]
    seeds = [_raw(it) for it in extensions if it.oid == SEED]
    ours = _first(certificate, NameOID.ORGANIZATION_NAME) == ORGANIZATION
    return SlotKey(
        key,
        _policies(policies[0]) if policies else Policies(),
        _seed(seeds[0]) if seeds else b"",
        _first(certificate, NameOID.COMMON_NAME) if ours else certificate.subject.rfc4514_string(),
        certificate.not_valid_before_utc,
        not (ours and _is_before_tags(_first(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME))),
    )


def default_name(key: EllipticCurvePublicKey, seed: bytes) -> str:
    """Return the name of a key to which its user gave none."""
    return f"age identity {SlotKey(key, Policies(), seed, '', _NEVER_ENDS, tagged=True).tag.hex()}"


def builder(
    key: EllipticCurvePublicKey, name: str, policies: Policies, seed: bytes, *, tagged: bool
) -> x509.CertificateBuilder:
    """Return the new certificate for *key*, still to be signed by it."""
    unit = _TAGGED_UNIT if tagged else _CLASSIC_UNIT
    subject = x509.Name(
        x509.NameAttribute(oid, text)
        for oid, text in (
            (NameOID.ORGANIZATION_NAME, ORGANIZATION),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            (NameOID.COMMON_NAME, name),
        )
    )
    value = bytes([_code(PIN_POLICIES, policies.pin), _code(TOUCH_POLICIES, policies.touch)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime.now(dt.UTC).replace(microsecond=0))
        .not_valid_after(_NEVER_ENDS)
        .add_extension(x509.UnrecognizedExtension(POLICIES, value), critical=False)
    )
    if seed:
        made = made.add_extension(x509.UnrecognizedExtension(SEED, _OCTETS + seed), critical=True)
    return made


def new_seed() -> bytes:
    """Return a new seed for the ML-KEM half of a post-quantum key."""
    return os.urandom(SEED_LENGTH)


def _code(names: dict[int, str], name: str) -> int:
    return next(code for code, known in names.items() if known == name)


def _policies(value: bytes) -> Policies:
    if len(value) < 2:  # noqa: PLR2004 - one byte each
        return Policies()
    return Policies(PIN_POLICIES.get(value[0], UNKNOWN), TOUCH_POLICIES.get(value[1], UNKNOWN))


def _seed(value: bytes) -> bytes:
    if len(value) != len(_OCTETS) + SEED_LENGTH or not value.startswith(_OCTETS):
        raise LockedError("holds a post-quantum key whose certificate is damaged")
    return value[len(_OCTETS) :]


def _is_before_tags(version: str) -> bool:
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    return major == "0" and minor.isdecimal() and int(minor) < 6  # noqa: PLR2004 - 0.6 brought the tagged kinds


def _first(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def _raw(extension: x509.Extension[x509.ExtensionType]) -> bytes:
    value = extension.value
    return value.value if isinstance(value, x509.UnrecognizedExtension) else b""
