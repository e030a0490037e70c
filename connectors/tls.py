"""Certificates: what a server shows, and what a client trusts."""

import ssl

from connectors.errors import Fatal


def serving(certificate: str, private_key: str, section: str) -> ssl.SSLContext | None:
    """What a server shows its clients; TLS 1.2 or newer.

    Args:
        certificate: PEM file of its certificate, and of those that signed it; empty: it serves without TLS.
        private_key: PEM file of the certificate's key.
        section: of the settings that name them.

    Raises:
        Fatal: they cannot be used.
    """
    if not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, private_key)
    except OSError as error:
        raise Fatal(
            f"{section}.certificate: {certificate} with {section}.private_key {private_key} cannot be used: "
            f"{error.strerror or error}; expected PEM files of a certificate and its own key"
        ) from error
    return context


def trusting(ca_certificate: str, section: str) -> ssl.SSLContext:
    """What a client checks servers with.

    Args:
        ca_certificate: PEM file of the authorities that it trusts; empty: those of the system.
        section: of the settings that name it.

    Raises:
        Fatal: it cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_certificate or None)
    except OSError as error:
        reason = error.strerror or error
        raise Fatal(
            f"{section}.ca_certificate: {ca_certificate} cannot be used: {reason}; expected a PEM file of certificates"
        ) from error


def trusting_only(certificate: str) -> ssl.SSLContext | None:
    """What asks a server of this machine that shows a certificate, whatever name that has; None: it shows none.

    Raises:
        Fatal: the certificate cannot be used.
    """
    if not certificate:
        return None
    context = trusting(certificate, "certificate")
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it is trusted by itself, whoever signed it
    return context
