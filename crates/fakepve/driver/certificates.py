"""A cluster's certificates: an authority of its own, and a leaf for its nodes."""

import datetime
import hashlib
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """What signs the nodes' certificates: its file is `pve-root-ca.pem` on a real one."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([
            x509.NameAttribute(NameOID.COMMON_NAME, 'Proxmox Virtual Environment'),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'PVE Cluster Manager CA')])
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.file = self._write('pve-root-ca.pem', self._certificate)

    def _builder(self, subject, key):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
                .serial_number(x509.random_serial_number()).not_valid_before(now - DAY)
                .not_valid_after(now + 730 * DAY))

    def _write(self, name, *certificates):
        path = os.path.join(self._folder, name)
        with open(path, 'wb') as file:
            for certificate in certificates:
                file.write(certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, hosts):
        """A new leaf: `(file of the certificate, file of its key, fingerprint)`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'pve1')])
        addresses = [x509.IPAddress(ipaddress.ip_address(host)) for host in ['127.0.0.1', '::1'] + hosts]
        names = [x509.DNSName(name) for name in ('localhost', 'pve1')]
        leaf = (self._builder(subject, key.public_key())
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(x509.SubjectAlternativeName(addresses + names), critical=False)
                .sign(self._key, hashes.SHA256()))
        file = self._write('pve-ssl.pem', leaf)
        key_file = os.path.join(self._folder, 'pve-ssl.key')
        with open(key_file, 'wb') as out:
            out.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                        serialization.NoEncryption()))
        return file, key_file, fingerprint(leaf)


def fingerprint(certificate):
    """As the API writes it: SHA-256, upper case, with colons."""
    digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    return ':'.join(digest[at:at + 2] for at in range(0, len(digest), 2))
