"""The test CA: what it signs of a charge point's requests, and what csms.py --ca-key takes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import StartScript, make_certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID

from evsim.authority import OPERATOR, Authority, new_key
from evsim.central_system.options import read_options, signer
from evsim.errors import UserError


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of an authority whose key is kept."""
    directory = tmp_path_factory.mktemp("keys") / "pki"
    made = make_certificates(directory, "--keep-ca-key")
    assert made.returncode == 0, made.stderr
    return directory


def request(*names: str, key: object = None, organisation: str = "") -> str:
    own = key or new_key()
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    if organisation:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    algorithm = None if isinstance(own, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    made = builder.sign(own, algorithm)  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_request_of_its_own_is_signed_by_the_authority() -> None:
    authority = Authority.make()
    key = new_key()
    pem = authority.sign_request(request("CP_1", key=key, organisation="Mine"), "CP_1")
    certificate = x509.load_pem_x509_certificate(pem.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem))
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() in ("CN=CP_1,O=Mine", "O=Mine,CN=CP_1")
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_before_utc < datetime.now(UTC) < certificate.not_valid_after_utc
    plain = authority.sign_request(request("CP_1"), "CP_1")
    assert OPERATOR in x509.load_pem_x509_certificate(plain.encode()).subject.rfc4514_string()


@pytest.mark.parametrize(
    ("csr", "problem"),
    [
        ("CSR", "no certificate request"),
        ("", "no certificate request"),
        (request("CP_2"), "its common name is not CP_1"),
        (request(), "its common name is not CP_1"),
        (request("CP_1", "CP_2"), "its common name is not CP_1"),
        (request("CP_1", key=rsa.generate_private_key(65537, 1024)), "too short, 1024 bits"),
        (request("CP_1", key=ed25519.Ed25519PrivateKey.generate()), "neither of an elliptic"),
    ],
    ids=["text", "nothing", "another's", "nobody's", "two names", "short", "another kind"],
)
def test_any_other_request_is_refused_in_one_line(csr: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Authority.make().sign_request(csr, "CP_1")


def test_a_request_whose_signature_was_tampered_with_is_refused() -> None:
    pem = request("CP_1")
    body = bytearray(x509.load_pem_x509_csr(pem.encode()).public_bytes(serialization.Encoding.DER))
    body[-1] ^= 1
    lines = base64.encodebytes(bytes(body)).decode()
    forged = f"-----BEGIN CERTIFICATE REQUEST-----\n{lines}-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(UserError, match=r"no certificate request|not signed with the key"):
        Authority.make().sign_request(forged, "CP_1")


def options(*arguments: str) -> object:
    return signer(read_options("", list(arguments)))


def test_the_files_of_the_certificates_program_sign(pki: Path) -> None:
    sign = signer(read_options("", ["--ca", str(pki / "ca.pem"), "--ca-key", str(pki / "ca.key")]))
    assert sign is not None
    assert "BEGIN CERTIFICATE" in sign(request("CP_1"), "CP_1")
    assert options() is None
    assert (pki / "ca.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("ca", "key", "problem"),
    [
        ("ca.pem", "none.key", "cannot read .*none.key: No such file"),
        ("none.pem", "ca.key", "cannot read .*none.pem: No such file"),
        ("ca.pem", "csms.key", "csms.key is not the private key of .*ca.pem"),
        ("ca.pem", "keys.txt", "in PEM form and without a pass phrase"),
        ("csms.pem", "csms.key", "csms.pem is not an authority's certificate"),
    ],
)
def test_files_that_are_no_authoritys_are_one_line(
    pki: Path, ca: str, key: str, problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        options("--ca", str(pki / ca), "--ca-key", str(pki / key))


def test_the_key_needs_its_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("--ca-key", "x")
    assert "--ca-key is the private key of --ca; give that too" in capsys.readouterr().err


RENEWAL = """
from pathlib import Path
async def scenario(charge_point):
    pem = Path({root!r}).read_text()
    await charge_point.install_certificate("CentralSystemRootCertificate", pem)
    await charge_point.extended_trigger("SignChargePointCertificate")
    await charge_point.report("SignCertificate")
"""


@pytest.mark.processes
def test_a_real_charge_point_gets_a_certificate(
    start_script: StartScript, free_port: int, pki: Path, tmp_path: Path
) -> None:
    scenario = tmp_path / "renew.py"
    scenario.write_text(RENEWAL.format(root=str(pki / "ca.pem")))
    csms = start_script(
        "csms.py",
        *("--port", str(free_port), "--scenario", str(scenario)),
        *("--ca", str(pki / "ca.pem"), "--ca-key", str(pki / "ca.key")),
    )
    csms.wait_for("running on")
    start_script("charger_module.py")
    start_script("cp.py", "--url", f"ws://127.0.0.1:{free_port}")
    csms.wait_for("CP_1: has a new certificate")
