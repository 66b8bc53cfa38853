//! TLS to the nodes behind, by the certificates that the system trusts (`SSL_CERT_FILE` names others).

use std::error::Error as StdError;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::config::GatewayConfig;
use crate::error::Error;

/// How nodes are verified. Without a node behind TLS nothing is trusted, and the system's certificates are not read.
///
/// # Errors
/// [`Error::Config`] when the system's certificates cannot be read.
pub(crate) fn client(config: &GatewayConfig) -> Result<Arc<ClientConfig>, Error> {
    let refuse = |error: rustls::Error| Error::Config(format!("TLS to the nodes: {error}"));
    let is_wanted = config
        .upstreams
        .iter()
        .any(|node| node.url.starts_with("https:") || node.ws.as_ref().is_some_and(|ws| ws.starts_with("wss:")));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refuse)?;
    let builder = if is_wanted {
        builder.with_platform_verifier().map_err(refuse)?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// An error with everything that caused it: the outermost one says only that there was no connection.
pub(crate) fn whole(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
