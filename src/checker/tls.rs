//! TLS for checks: rustls over a check's socket, in the feature `tls`.
//!
//! A check asks whether the peer answers, not who it is: any certificate is accepted, and so is one that has expired, for
//! the gateway's own connections decide that. Nothing secret is sent. Handshake and records go over the non-blocking
//! socket as far as it takes them. Source: RFC 8446.

use super::socket;
use crate::cause::Cause;
use crate::error::Error;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How connections are secured.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// One secured connection.
pub(super) struct Session(ClientConnection);

impl Client {
    /// `name` is sent in the handshake; the host, without a port, where it is empty.
    pub fn new(name: &[u8], host: &[u8]) -> Result<Client, Error> {
        let refuse = |what: &str| Error::invalid(format!("server_name: {what}"));
        let text = std::str::from_utf8(if name.is_empty() { host } else { name }).map_err(|_| refuse("not a name"))?;
        let text = match text.rsplit_once(':') {
            Some((host, _)) if name.is_empty() && !host.contains(':') => host,
            _ => text,
        };
        let name = ServerName::try_from(text.to_owned()).map_err(|_| refuse("no name of a host, nor an address"))?;
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| refuse(&e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        Ok(Client { config: Arc::new(config), name })
    }

    pub fn session(&self) -> Option<Session> {
        ClientConnection::new(self.config.clone(), self.name.clone()).ok().map(Session)
    }
}

impl Session {
    /// Whether the handshake is over.
    pub fn shake_hands(&mut self, fd: &OwnedFd) -> Result<bool, Cause> {
        while self.0.is_handshaking() {
            self.flush(fd).map_err(|_| Cause::CONNECTION_TERMINATED)?;
            match self.0.read_tls(&mut Socket(fd)) {
                Ok(0) => return Err(Cause::CONNECTION_TERMINATED),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(_) => return Err(Cause::CONNECTION_TERMINATED),
            }
            self.0.process_new_packets().map_err(|e| match e {
                rustls::Error::AlertReceived(_) => Cause::TLS_ALERT_RECEIVED,
                _ => Cause::TLS_PROTOCOL_ERROR,
            })?;
        }
        self.flush(fd).map_err(|_| Cause::CONNECTION_TERMINATED)?;
        Ok(true)
    }

    pub fn send(&mut self, fd: &OwnedFd, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.0.writer().write(bytes)?;
        self.flush(fd)?;
        Ok(n)
    }

    pub fn recv(&mut self, fd: &OwnedFd, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.flush(fd)?;
        loop {
            match self.0.reader().read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.0.read_tls(&mut Socket(fd))?;
            self.0.process_new_packets().map_err(|e| std::io::Error::new(ErrorKind::InvalidData, e))?;
        }
    }

    /// Sends as much of what is due as the socket takes.
    fn flush(&mut self, fd: &OwnedFd) -> std::io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut Socket(fd)) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

struct Socket<'a>(&'a OwnedFd);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        socket::recv(self.0, buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        socket::send(self.0, bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Accepts every certificate, but not a handshake that its key did not sign.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
