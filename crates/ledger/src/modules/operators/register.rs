//! RegisterOperator: enter the registry with keys of one's own.

use surety_primitives::bls::{self, BlsKey, BlsSignature};
use surety_primitives::typed_data::Bytes32;
use surety_primitives::{OperatorId, typed_struct};

use super::{Error, Operator, Profile};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;

typed_struct! {
    /// Registers the signer as an operator.
    pub struct RegisterOperator {
        /// Network identity (ed25519).
        pub peer: Bytes32,
        /// Key for votes and certificates.
        pub bls_key: BlsKey,
        /// Proof that the signer has the key's secret.
        pub possession: BlsSignature,
        /// What it says of itself.
        pub profile: Profile,
    }
}

impl Action for RegisterOperator {
    fn check(&self) -> Result<()> {
        self.profile.check()
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let namespace = super::possession_namespace(ctx.network());
        bls::verify_possession(&self.bls_key, &namespace, &self.possession)
            .map_err(|reason| Error::NoPossession { reason })?;
        let operator = Operator {
            id: OperatorId(ctx.signer()),
            peer: self.peer,
            bls_key: self.bls_key,
            profile: self.profile.clone(),
        };
        super::enter(ctx, &operator)
    }
}

impl Profile {
    /// Lengths and characters.
    pub(crate) fn check(&self) -> Result<()> {
        let plain = |text: &str, limit: usize| text.len() <= limit && !text.chars().any(char::is_control);
        ensure!(plain(&self.name, 64) && plain(&self.url, 256) && plain(&self.gateway, 256), Error::BadProfile);
        Ok(())
    }
}
