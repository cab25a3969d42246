//! A certificate for this machine, of a CA that nobody else has.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};

/// Makes both, and writes the CA's certificate to `file`.
pub(crate) fn config(file: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Proxmox Virtual Environment");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    fs::write(file, certificate).with_context(|| file.display().to_string())?;
    let authority = Issuer::new(params, key);

    let key = KeyPair::generate()?;
    let server = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], key)?;
    Ok(Arc::new(config))
}
