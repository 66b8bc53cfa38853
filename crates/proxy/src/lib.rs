//! Put a provider's sidecar before any HTTP API: verify, meter, forward, sign, claim.
