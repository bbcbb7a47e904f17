"""The certificate by which a software card attests that it made a key; its chain leads nowhere."""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

_YUBICO = "1.3.6.1.4.1.41482.3"


def attestation(
    slot: int, key: ec.EllipticCurvePublicKey, firmware: tuple[int, int, int], serial: int, policies: bytes
) -> bytes:
    """Return the attestation, DER, of *key* in *slot*; *policies* are two bytes, PIN and touch."""
    number = serial.to_bytes(5, "big").lstrip(b"\0") or b"\0"
    values = {
        3: bytes(firmware),
        7: bytes([2, len(number)]) + number,
        8: policies,
        9: b"\x01",
    }
    start = dt.datetime(2016, 3, 14, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(f"YubiKey PIV Attestation {slot:02x}"))
        .issuer_name(_name("Yubico PIV Attestation"))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(dt.datetime(9999, 12, 31, tzinfo=dt.UTC))
    )
    for number_of, value in values.items():
        oid = x509.ObjectIdentifier(f"{_YUBICO}.{number_of}")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    issuer = ec.generate_private_key(ec.SECP256R1())
    return builder.sign(issuer, hashes.SHA256()).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
