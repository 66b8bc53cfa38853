//! A network of operator processes on one machine.

mod layout;
mod supervisor;

pub(crate) use layout::{ACCOUNTS, DEFAULT_FOLDER, Layout, NETWORK, Plan};
pub(crate) use supervisor::Supervisor;
