//! Market: providers sell packages of calls, consumers buy them, and what is signed is what is paid (`market.md` B).
//!
//! Invariant I1: after every action a provider's exposure (sold and unacknowledged value, promised cover) stays within its
//! backing (stake, unreleased claims). Escrow is the sum of open values, the stake pool the sum of stakes.
//! Never here: timers. A deadline is a comparison made when someone acts, and whoever gains acts.

mod audit;
mod claim;
mod collect;
mod contest;
pub mod coverage;
mod error;
mod fault;
mod keychain;
mod pause_provider;
mod pause_service;
mod payment;
mod publish_dataset;
mod purchase;
mod register_provider;
mod register_service;
mod release;
mod retire_dataset;
mod revoke_key;
mod rotate_call_key;
mod settle;
mod show;
mod stake_provider;
pub mod state;
mod sweep;
mod terms;
#[cfg(test)]
mod tests;
mod unstake_provider;
mod update_provider;
mod update_service;
mod withdraw_stake;

pub(crate) use audit::audit;
pub use claim::Claim;
pub use collect::{Collect, Debt};
pub use contest::ContestShown;
pub use error::Error;
pub use fault::ReportFault;
pub use keychain::KeyChain;
pub use pause_provider::PauseProvider;
pub use pause_service::PauseService;
pub use publish_dataset::PublishDataset;
pub use purchase::Purchase;
pub use register_provider::RegisterProvider;
pub use register_service::RegisterService;
pub use release::Release;
pub use retire_dataset::RetireDataset;
pub use revoke_key::RevokeKey;
pub use rotate_call_key::RotateCallKey;
pub use settle::Settle;
pub use show::{ShowAnswers, ShownAnswers};
pub use stake_provider::StakeProvider;
pub use state::Event;
pub use sweep::{RowRef, Sweep};
pub use unstake_provider::UnstakeProvider;
pub use update_provider::UpdateProvider;
pub use update_service::UpdateService;
pub use withdraw_stake::WithdrawStake;
