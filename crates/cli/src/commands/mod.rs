//! One file a command.

pub(crate) mod bench;
pub(crate) mod buy;
pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod claim;
pub(crate) mod demo;
pub(crate) mod devchain;
pub(crate) mod devnet;
pub(crate) mod evidence;
pub(crate) mod explain;
pub(crate) mod gateway;
pub(crate) mod keys;
pub(crate) mod lists;
pub(crate) mod node;
pub(crate) mod provider;
pub(crate) mod services;
pub(crate) mod sidecar;
pub(crate) mod verify;
