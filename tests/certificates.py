"""A certificate authority for tests, and a proxy that ends TLS in front of a plain server."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Issued(NamedTuple):
    """Files (PEM) of a certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; ``ca`` is the file to trust."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder, self._numbers = folder, itertools.count()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._prefix = name
        builder = self._builder(self._name, self._key, 0, 2).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.ca = self._write("root", builder.sign(self._key, hashes.SHA256()))

    def issue(self, *names: str, expired: bool = False) -> Issued:
        """Make a certificate for host names and IP addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        days = (-3, -1) if expired else (-1, 2)
        certificate = (
            self._builder(subject, key, *days)
            .add_extension(
                x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        number = next(self._numbers)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        key_path = self._folder / f"{self._prefix}-{number}.key"
        key_path.write_bytes(pem)
        return Issued(self._write(str(number), certificate), key_path)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: int, end: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begin * _DAY)
            .not_valid_after(now + end * _DAY)
        )

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._folder / f"{self._prefix}-{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class TlsProxy:
    """Takes encrypted connections and hands their bytes on in the clear.

    Args:
        issued: the certificate to show.
        target_port: of a server on this machine; 0 for none.
        client_ca: clients must show a certificate that this authority signed.
    """

    def __init__(self, issued: Issued, target_port: int = 0, client_ca: Path | None = None) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(issued.certificate, issued.key)
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        if client_ca:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> TlsProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as front:
            if not self._target_port:
                front.recv(1)
                return
            with socket.create_connection(("127.0.0.1", self._target_port)) as back:
                back.setblocking(False)
                front.setblocking(False)
                _pump(front, back)


def _pump(front: ssl.SSLSocket, back: socket.socket) -> None:
    """Hand bytes on in both directions, in one thread: an SSLSocket belongs to one at a time."""
    import select

    while True:
        moved = False
        for source, sink in ((front, back), (back, front)):
            try:
                data = source.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            if not data:
                return
            moved = True
            sink.setblocking(True)
            sink.sendall(data)
            sink.setblocking(False)
        if not moved:
            select.select([front, back], [], [])
