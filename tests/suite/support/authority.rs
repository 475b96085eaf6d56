//! Certificates of an authority that nobody knows but the test.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A server's certificate and its key.
pub struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Told apart by their names: one that a client trusts is looked up by it.
        let name = format!("an authority of the tests, {}", uuid::Uuid::new_v4());
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("authority.pem"), issuer.pem()).expect("a file");
        Self { issuer, folder }
    }

    /// What who trusts it is given.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// For a server of this name, or IP address.
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_until(name, 2090)
    }

    pub fn issue_until(&self, name: &str, year: i32) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        Issued { certificate: params.signed_by(&key, &self.issuer).expect("a certificate"), key }
    }
}

impl Issued {
    /// Writes both into a folder, the key for `owner` alone. Gives the files.
    pub fn write(&self, folder: &Path, (user, group): (u32, u32)) -> (PathBuf, PathBuf) {
        use std::os::unix::fs::{OpenOptionsExt as _, chown};
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            // A new file, since the one before belongs to somebody else.
            let _ = std::fs::remove_file(&path);
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&path).expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            chown(&path, Some(user), Some(group)).expect("an owner");
            path
        };
        (write("server.pem", &self.certificate.pem()), write("server.key", &self.key.serialize_pem()))
    }

    /// An HTTPS address of this machine, by its IP, behind which is what listens at `server`.
    pub async fn in_front_of(&self, server: SocketAddr) -> String {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocols")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust us hangs up.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        url
    }
}
